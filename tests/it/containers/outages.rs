//! What becomes of containers when the engine, or sidekick, is gone.

use nix::sys::signal::Signal;

use super::{Bench, Engine, LONG, WEB};

/// In the engine of the test's own there is no other network.
const ON_HOST: &[&str] = &["--network", "host"];
const IP: [&str; 2] = ["--ip", "127.0.0.1"];

#[test]
fn an_engine_that_is_started_again_leaves_no_ghost() {
    let Some(engine) = Engine::own() else { return };
    let mut bench = Bench::new(engine);
    let stays = bench.engine.run(WEB, ON_HOST);
    let goes = bench.engine.run(WEB, ON_HOST);
    let process = bench.start(LONG, &IP);
    bench.wait_for(&stays, true);
    bench.wait_for(&goes, true);

    // Nobody tells of an end while there is no engine, and the containers are still there.
    bench.engine.kill();
    process.wait_said("no connection to Docker");
    bench.stays(&stays, true);
    // It ends what its predecessor has left behind, before it answers: no event tells of that.
    bench.engine.start();
    bench.wait_for(&stays, false);
    bench.wait_for(&goes, false);
    stays.must(&["start"]);
    bench.wait_for(&stays, true);
    assert!(!bench.is_there(&goes));
}

#[test]
fn an_engine_that_stays_away_takes_its_containers_with_it() {
    let Some(engine) = Engine::own() else { return };
    let mut bench = Bench::new(engine);
    let container = bench.engine.run(WEB, ON_HOST);
    let process = bench.start(LONG, &[&IP[..], &["--docker-grace", "3s"]].concat());
    bench.wait_for(&container, true);
    bench.engine.kill();
    bench.wait_for(&container, false);
    process.wait_said("has not answered for --docker-grace");
    bench.engine.start();
    container.must(&["start"]);
    bench.wait_for(&container, true);

    // One that hangs does not close its connections.
    bench.engine.process().signal(Signal::SIGSTOP);
    bench.wait_for(&container, false);
    bench.engine.process().signal(Signal::SIGCONT);
    bench.wait_for(&container, true);
}

#[test]
fn a_sidekick_that_is_killed_leaves_no_ghost_and_its_successor_no_gap() {
    let Some(engine) = Engine::shared() else {
        return;
    };
    let bench = Bench::new(engine);
    let stays = bench.engine.run(WEB, &[]);
    let goes = bench.engine.run(WEB, &[]);
    let mut process = bench.start("5s", &[]);
    bench.wait_for(&stays, true);
    bench.wait_for(&goes, true);

    process.signal(Signal::SIGKILL);
    process.wait();
    goes.must(&["rm", "-f"]);
    let again = bench.start("5s", &[]);
    // Its successor knows nothing of it: it goes with the lease.
    while bench.is_there(&goes) {
        assert!(bench.is_there(&stays));
    }
    bench.stays(&stays, true);

    // Without a successor, everything goes with the lease.
    again.signal(Signal::SIGKILL);
    bench.wait_for(&stays, false);
}

//! `sidekick dashboard`. Shell.

use super::{Job, Opening, Surroundings, both, no_system, open};
use crate::cli::Dashboard;
use crate::config::Problem;
use crate::dashboard::{self, Plan};
use crate::error::Failure;
use crate::model::listen_address::ListenAddress;
use crate::model::stop::Stop;
use crate::system::init;
use crate::system::signals::BlockedSignals;

pub(super) fn resolve(
    args: Dashboard,
    held: BlockedSignals,
    here: &Surroundings,
) -> Result<Job, Failure> {
    let listen = args.listen.parse::<ListenAddress>();
    let listen = listen.map_err(|error| vec![Problem::with(format!("--listen: {error}"))]);
    let (listen, place) = both(listen, here.choose_store(&args.store))?;
    let opening = Opening::on_store("dashboard", &place);
    let work = async move {
        let store = open(&place)?;
        let plan = Plan {
            listen,
            names: args.allowed.names(),
            prefix: place.prefix,
            store: place.location.identity(),
        };
        let signals = held
            .listen(Stop::within(std::time::Duration::ZERO))
            .map_err(|error| no_system(&error))?;
        let served = init::reaping(dashboard::run(plan, store, signals)).await;
        served
            .map(|()| 0)
            .map_err(|error| Failure::unavailable(&error, error.hint()))
    };
    Ok(Job::new(work).logging(args.log).opening(opening))
}

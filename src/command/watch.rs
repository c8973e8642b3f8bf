//! `sidekick watch`. Shell.

use std::ffi::{OsStr, OsString};

use tracing::{error, info};

use super::{Job, Opening, Surroundings, bind, both, counted, no_system, open};
use crate::admin::watch::WatchAdmin;
use crate::cli::Watch;
use crate::config::{self, Confd, StoreChoice};
use crate::error::Failure;
use crate::model::report::chain;
use crate::system::signals::BlockedSignals;
use crate::system::{child, init};
use crate::watch;

pub(super) fn resolve(
    args: Watch,
    held: BlockedSignals,
    here: &Surroundings,
) -> Result<Job, Failure> {
    let conf_dir = config::conf_dir(args.conf_dir.as_deref(), &here.host);
    let confd = Confd::read(&conf_dir).map_err(|problems| Failure::config(&problems))?;
    let options = config::watch_options(&args, &confd, (&here.env, &here.host), here.is_root);
    let choice = StoreChoice::new(&args.store, &here.env, &conf_dir, here.is_root);
    let (options, place) = both(options, choice.choose(&confd, &here.host))?;
    let admin = config::parse_admin(&args.admin).map_err(|problems| Failure::usage(&problems))?;
    let admin = admin.filter(|_| !options.once);
    let admin_store = place.to_string();
    let opening = Opening::on_store("watch", &place).warning_of(&here.host);
    let env = here.host.complete_for_templates(&here.env);
    let successor = options.program.clone().filter(|_| options.once);
    let has_child = options.program.is_some() && successor.is_none();
    let work = async move {
        let targets = watch::load(&conf_dir, &options);
        let names = targets.as_ref().ok().map(watch::Configuration::names);
        opening.log(names.map(|names| counted("target", &names)).as_deref());
        let targets = targets.map_err(|problems| Failure::config(&problems))?;
        if has_child {
            init::adopt_orphans();
        }
        let admin = match bind(admin)? {
            Some(server) => {
                WatchAdmin::start(server, admin_store).map_err(|error| no_system(&error))?
            }
            None => WatchAdmin::default(),
        };
        let store = open(&place)?;
        let signals = held
            .listen(options.stop)
            .map_err(|error| no_system(&error))?;
        let plan = watch::Plan {
            targets,
            place,
            choice,
            options,
            env,
            conf_dir,
            admin,
        };
        let status = init::reaping(watch::run(plan, store, signals)).await;
        match successor.filter(|_| status == 0) {
            Some((program, args)) => Ok(become_program(&program, &args)),
            None => Ok(status),
        }
    };
    Ok(Job::new(work).logging(args.log))
}

/// Lets the command take the place of this process. It returns only if that fails, with the status for `sidekick`.
fn become_program(program: &OsStr, args: &[OsString]) -> u8 {
    info!("every file is in place: the command takes the place of sidekick");
    let error = child::become_program(program, args);
    error!("{}", chain(&error));
    error.status()
}

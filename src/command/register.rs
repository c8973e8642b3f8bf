//! `sidekick register`. Shell.

use super::{Job, Opening, Surroundings, bind, both, counted, no_system, open};
use crate::admin::register::RegisterAdmin;
use crate::cli::Register;
use crate::config;
use crate::error::Failure;
use crate::model::prefix::Prefix;
use crate::register;
use crate::system::init;
use crate::system::signals::BlockedSignals;

pub(super) fn resolve(
    args: Register,
    held: BlockedSignals,
    here: &Surroundings,
) -> Result<Job, Failure> {
    let place = here.place_to_write("register", &args.store);
    let prefix = place.as_ref().ok().map(|place| &place.prefix);
    let registration = config::read_registration(&args, prefix);
    let (registration, place) = both(registration, place)?;
    let admin = config::parse_admin(&args.admin).map_err(|problems| Failure::usage(&problems))?;
    let admin_store = place.to_string();
    let opening = Opening::on_store("register", &place);
    let has_program = !args.command.is_empty();
    let work = async move {
        if has_program {
            init::adopt_orphans();
        }
        let containers = match &registration.docker {
            Some(_) => ", and the containers of this host by their labels",
            None => "",
        };
        let log_opening = |instances: &[Prefix]| {
            let instances = counted("instance", instances);
            opening.log(Some(&format!("{instances}{containers}")));
        };
        let plan = register::resolve(registration, &place.location, &place.prefix, log_opening)?;
        let admin = match bind(admin)? {
            Some(server) => {
                RegisterAdmin::start(server, admin_store).map_err(|error| no_system(&error))?
            }
            None => RegisterAdmin::default(),
        };
        let store = open(&place)?;
        let signals = held
            .listen(plan.stop())
            .map_err(|error| no_system(&error))?;
        Ok(init::reaping(register::run(plan, store, signals, admin)).await)
    };
    Ok(Job::new(work).logging(args.log))
}

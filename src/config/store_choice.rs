//! How `sidekick watch` chooses its store: at the start, and again at each config reload.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Confd, Env, HostFile, Problem, Source, StorePlace, choose_store};
use crate::cli::StoreArgs;

/// All that the choice of the store depends on. The files are read each time.
#[derive(Clone)]
pub struct StoreChoice {
    args: StoreArgs,
    env: Env,
    conf_dir: PathBuf,
    is_root: bool,
}

/// The environment may have passwords, so it is left out.
impl fmt::Debug for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreChoice")
            .field("args", &self.args)
            .field("conf_dir", &self.conf_dir)
            .finish_non_exhaustive()
    }
}

impl StoreChoice {
    /// The choice by these flags, this environment, the `confd.toml` in `conf_dir` and the host's file.
    #[must_use]
    pub fn new(args: &StoreArgs, env: &Env, conf_dir: &Path, is_root: bool) -> Self {
        Self {
            args: args.clone(),
            env: env.clone(),
            conf_dir: conf_dir.to_owned(),
            is_root,
        }
    }

    /// The store that is named now: reads `confd.toml` and the host's file.
    pub fn read(&self) -> Result<StorePlace, Vec<Problem>> {
        let confd = Confd::read(&self.conf_dir)?;
        self.choose(&confd, &HostFile::read(&self.env))
    }

    /// The store that flags and environment name, else `confd.toml`, else the host's file.
    pub fn choose(&self, confd: &Confd, host: &HostFile) -> Result<StorePlace, Vec<Problem>> {
        let (args, env, file) = confd.complete(self.args.clone(), self.env.clone())?;
        let mut place = choose_store(&args, &env, host, self.is_root)?;
        if let Some(file) = file {
            place.source = Source::Confd(file.to_owned());
        }
        Ok(place)
    }
}

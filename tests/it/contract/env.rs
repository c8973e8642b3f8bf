//! Contract: the environment.

use std::sync::Arc;

use sidekick::store::Store;
use sidekick::store::read_only::ReadOnlyStore;

use super::Reads;

struct EnvBench(Vec<(String, String)>);

impl Reads for EnvBench {
    async fn holding(keys: &[(&str, &str)]) -> Self {
        let name = |key: &str| key.trim_start_matches('/').replace('/', "_").to_uppercase();
        let keys = keys.iter();
        Self(
            keys.map(|(key, value)| (name(key), (*value).to_owned()))
                .collect(),
        )
    }

    fn reader(&self) -> Arc<dyn Store> {
        let variables = self.0.iter();
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        Arc::new(ReadOnlyStore::of_environment(variables))
    }
}

super::contract!(EnvBench: read);

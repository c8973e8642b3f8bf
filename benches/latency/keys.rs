//! The instances in etcd. Every variant has its own, so that a change concerns one of them only.

use std::time::Instant;

use etcd_client::{Client, Compare, Txn, TxnOp};

/// Where the instances of a variant lie, such as `/tera/services`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    /// The first part of the path.
    pub(crate) name: &'static str,
    /// How many instances there are.
    pub(crate) size: usize,
}

/// When a change was sent, and when etcd had confirmed it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Put {
    pub(crate) sent: Instant,
    pub(crate) confirmed: Instant,
}

impl Keys {
    /// The prefix of all services.
    pub(crate) fn prefix(self) -> String {
        format!("/{}/services", self.name)
    }

    fn key(self, n: usize, field: &str) -> String {
        format!("{}/web/i{n:05}/{field}", self.prefix())
    }

    /// Writes all instances, each with three keys.
    pub(crate) async fn fill(self, client: &mut Client) {
        for from in (0..self.size).step_by(30) {
            let ops = (from..self.size.min(from + 30)).flat_map(|n| {
                let ip = format!("10.{}.{}.{}", n / 62_500, n / 250 % 250, n % 250 + 1);
                [
                    ("ip", ip),
                    ("port", "8080".to_owned()),
                    ("weight", "100".to_owned()),
                ]
                .map(|(field, value)| TxnOp::put(self.key(n, field), value, None))
            });
            let txn = Txn::new()
                .when(Vec::<Compare>::new())
                .and_then(ops.collect::<Vec<_>>());
            client.txn(txn).await.expect("fill the store");
        }
    }

    /// Changes the weight of an instance, which is 100 at first, to another one than in the round before.
    pub(crate) async fn put(self, client: &mut Client, round: usize) -> Put {
        let weight = (round % 99 + 1).to_string();
        self.write(client, round * 7 % self.size, "weight", &weight)
            .await
    }

    /// Gives the first instance this address.
    pub(crate) async fn mark(self, client: &mut Client, ip: &str) -> Put {
        self.write(client, 0, "ip", ip).await
    }

    async fn write(self, client: &mut Client, n: usize, field: &str, value: &str) -> Put {
        let sent = Instant::now();
        client
            .put(self.key(n, field), value, None)
            .await
            .expect("a put");
        let confirmed = Instant::now();
        Put { sent, confirmed }
    }
}

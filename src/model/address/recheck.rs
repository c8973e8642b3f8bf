//! Decides whether an address that was chosen earlier is still the right one. Pure.

use std::net::IpAddr;

use super::{Host, Spec, candidates, choose};

/// A chosen address, and the spec that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The address.
    pub ip: IpAddr,
    /// All configured specs, in their order.
    specs: Vec<Spec>,
    /// The index of the spec that led to the address.
    way: usize,
}

impl Chosen {
    /// The first address that one of `specs` leads to.
    #[must_use]
    pub fn first(specs: &[Spec], host: &Host) -> Option<Self> {
        let choice = choose(specs, host);
        let by = &choice.tried.last()?.spec;
        Some(Self {
            ip: choice.ip?,
            specs: specs.to_vec(),
            way: specs.iter().position(|spec| spec == by)?,
        })
    }

    /// Chooses again; `None` if the host does not have the address any more, and no spec leads to another one.
    ///
    /// The address changes only for a reason. It stays while an interface gets a further address, and while a spec leads
    /// nowhere for a time (a name server does not answer) but the host still has the address.
    #[must_use]
    pub fn again(&self, host: &Host) -> Option<Self> {
        let is_here = host
            .interfaces
            .iter()
            .any(|one| one.addrs.contains(&self.ip));
        for (way, spec) in self.specs.iter().enumerate() {
            let fit = candidates(spec, host)
                .into_iter()
                .filter(|(_, refused)| refused.is_none());
            let fit: Vec<IpAddr> = fit.filter_map(|(found, _)| Some(found?.0)).collect();
            let Some(first) = fit.first() else {
                continue;
            };
            if fit.contains(&self.ip) {
                return Some(Self {
                    way,
                    ..self.clone()
                });
            }
            if way > self.way && is_here {
                return Some(self.clone());
            }
            let ip = *first;
            return Some(Self {
                ip,
                way,
                specs: self.specs.clone(),
            });
        }
        is_here.then(|| self.clone())
    }

    /// Whether the address was chosen by these specs.
    #[must_use]
    pub fn is_by(&self, specs: &[Spec]) -> bool {
        self.specs == specs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::Interface;

    fn host(addrs: &[&str], store: Option<&str>, default: Option<&str>) -> Host {
        let parse = |ip: &&str| ip.parse().unwrap();
        Host {
            interfaces: vec![Interface {
                name: "eth0".to_owned(),
                addrs: addrs.iter().map(parse).collect(),
            }],
            default_route: default.as_ref().map(parse),
            towards_store: store.as_ref().map(parse),
        }
    }

    #[test]
    fn an_address_changes_only_for_a_reason() {
        const A: &str = "10.0.0.1";
        const B: &str = "10.0.0.2";
        const V6: &str = "2001:db8::2";
        let before = host(&[A], Some(A), Some(A));
        for (specs, now, want) in [
            ("iface:eth0", host(&[B], None, None), Some(B)),
            ("iface:eth0", host(&[B, A], None, None), Some(A)),
            ("iface:eth0", host(&[V6], None, None), Some(V6)),
            ("iface:eth0", host(&[], None, None), None),
            ("cidr:10.0.0.0/8", host(&[B, A], None, None), Some(A)),
            ("cidr:10.0.0.0/8", host(&[V6], None, None), None),
            ("store", host(&[B], None, Some(B)), None),
            ("default", host(&[A, B], None, Some(B)), Some(B)),
            ("default", host(&[A, B], None, None), Some(A)),
            ("default", host(&[B], None, None), None),
            // The name of the store cannot be resolved for a while, and the default route goes another way.
            ("store,default", host(&[A, B], None, Some(B)), Some(A)),
            ("store,default", host(&[B], None, Some(B)), Some(B)),
            ("store,default", host(&[A, B], Some(B), Some(A)), Some(B)),
            ("10.0.0.1", host(&[], None, None), Some(A)),
        ] {
            let specs: Vec<Spec> = specs.split(',').map(|spec| spec.parse().unwrap()).collect();
            let chosen = Chosen::first(&specs, &before).unwrap();
            assert_eq!(chosen.ip.to_string(), A);
            let again = chosen.again(&now).map(|chosen| chosen.ip.to_string());
            assert_eq!(again.as_deref(), want, "{specs:?} {now:?}");
        }
    }
}

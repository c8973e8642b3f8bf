//! HAProxy's answers to `show info`, `show servers state` and `show servers conn`. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::server::Id;

/// The bit of a server's admin state that `disabled` in the file, or `set server … state maint`, sets. Other bits stand for
/// other reasons of maintenance, and for drain.
const MAINTENANCE: u32 = 1;

/// A process of HAProxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its process id; in a container a new process may well get the same one again.
    pub pid: u32,
    /// The time of its start in seconds, by a clock of HAProxy's own; old versions do not say it.
    start: Option<u64>,
    /// Seconds since its start.
    uptime: u64,
    /// Major and minor version.
    pub version: (u32, u32),
    /// Whether the process is an old worker, which ends with its last connection.
    pub stopping: bool,
}

impl Process {
    /// Reads the answer to `show info`; `None` if the text is something else.
    pub fn parse(info: &str) -> Option<Self> {
        let field = |name: &str| {
            let lines = info.lines().filter_map(|line| line.split_once(": "));
            let mut found = lines.filter(|(key, _)| *key == name);
            found.next().map(|(_, value)| value.trim())
        };
        let mut version = field("Version")?.split(['.', '-']).map(str::parse);
        Some(Self {
            pid: field("Pid")?.parse().ok()?,
            start: field("Start_time_sec").and_then(|text| text.parse().ok()),
            uptime: field("Uptime_sec")?.parse().ok()?,
            version: (version.next()?.ok()?, version.next()?.ok()?),
            stopping: field("Stopping").is_some_and(|text| text != "0"),
        })
    }

    /// Whether this is the process of an earlier answer.
    #[must_use]
    pub fn is_still(&self, before: &Self) -> bool {
        self.pid == before.pid && self.start == before.start && self.uptime >= before.uptime
    }
}

/// A server as the running HAProxy has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningServer {
    /// Address and port; none while it has no address.
    pub at: Option<SocketAddr>,
    /// Its weight.
    pub weight: u16,
    /// Whether the file or a command has taken it out of service.
    pub disabled: bool,
    /// Seconds since its state changed.
    pub since: u64,
}

/// The servers that the running HAProxy has.
pub type Servers = HashMap<Id, RunningServer>;

/// Reads the answer to `show servers state`; `None` if the text is something else.
#[must_use]
pub fn parse_state(text: &str) -> Option<Servers> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("# be_id"));
    let columns: Vec<&str> = lines.next()?.trim_start_matches("# ").split(' ').collect();
    let column = |name| columns.iter().position(|column| *column == name);
    let [backend, name, ip, port] = ["be_name", "srv_name", "srv_addr", "srv_port"].map(column);
    let [weight, admin, since] = [
        "srv_uweight",
        "srv_admin_state",
        "srv_time_since_last_change",
    ]
    .map(column);
    let (backend, name, ip, port) = (backend?, name?, ip?, port?);
    let (weight, admin, since) = (weight?, admin?, since?);
    let rows = lines.filter(|line| !line.is_empty()).map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let word = |column: usize| words.get(column).copied();
        let ip: Option<IpAddr> = word(ip)?.parse().ok();
        let port: u16 = word(port)?.parse().ok()?;
        let admin: u32 = word(admin)?.parse().ok()?;
        let seen = RunningServer {
            at: ip.map(|ip| SocketAddr::new(ip, port)),
            weight: word(weight)?.parse().ok()?,
            disabled: admin & MAINTENANCE != 0,
            since: word(since)?.parse().ok()?,
        };
        Some((Id::new(word(backend)?, word(name)?), seen))
    });
    // A server whose name no command can carry is not one that sidekick has made or changes.
    let rows = rows.map(|row| row.map(|(id, seen)| id.map(|id| (id, seen))));
    let rows: Option<Vec<_>> = rows.collect();
    Some(rows?.into_iter().flatten().collect())
}

/// Reads the answer to `show servers conn`: the servers that have no connection, neither in use nor idle. `None` if the
/// text is something else.
#[must_use]
pub fn parse_unused(text: &str) -> Option<Vec<String>> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("# "));
    let columns: Vec<&str> = lines.next()?.trim_start_matches("# ").split(' ').collect();
    let column = |name| columns.iter().position(|column| *column == name);
    let (used, idle) = (column("used_cur")?, column("idle_cur")?);
    let rows = lines.filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let is_unused = words.get(used) == Some(&"0") && words.get(idle) == Some(&"0");
        is_unused.then(|| words[0].to_owned())
    });
    Some(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
        srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
        bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr \
        srv_agent_addr srv_agent_port\n\
        3 app 1 a 127.0.0.9 0 8 20 100 0 8 2 0 6 0 0 0 - 20009 - 0 0 - - 0\n\
        3 app 2 b ::1 0 5 100 100 7 1 0 0 8 0 0 0 - 20002 - 0 0 - - 0\n\
        3 app 3 c - 2 4 0 0 1 1 0 2 0 0 0 0 - 20003 - 0 0 - - 0\n";

    #[test]
    fn the_state_of_servers() {
        let servers = parse_state(STATE).unwrap();
        let get = |name| &servers[&Id::new("app", name).unwrap()];
        assert_eq!(get("a").at.unwrap().to_string(), "127.0.0.9:20009");
        assert_eq!(
            (get("a").weight, get("a").disabled),
            (20, false),
            "drained by hand"
        );
        assert_eq!(
            (get("b").weight, get("b").disabled, get("b").since),
            (100, true, 7)
        );
        assert_eq!(get("b").at.unwrap().to_string(), "[::1]:20002");
        assert_eq!(
            (get("c").at, get("c").disabled),
            (None, false),
            "was disabled in the file, is ready"
        );
        assert!(parse_state("Can't find backend.").is_none());
        assert!(parse_state(&STATE.replace("20009", "x")).is_none());
    }

    #[test]
    fn processes() {
        let info = "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 18393\nUptime_sec: 554\nStart_time_sec: 17\nStopping: 0\n";
        let process = Process::parse(info).unwrap();
        assert_eq!(
            (process.pid, process.version, process.stopping),
            (18393, (2, 6), false)
        );
        let other = |from: &str, to: &str| Process::parse(&info.replace(from, to)).unwrap();
        assert!(other("554", "555").is_still(&process));
        assert!(!other("554", "3").is_still(&process));
        assert!(!other("17", "18").is_still(&process));
        assert!(!other("18393", "18394").is_still(&process));
        assert!(other("Stopping: 0", "Stopping: 1").stopping);
        assert_eq!(Process::parse("Unknown command"), None);
    }

    #[test]
    fn servers_in_use() {
        let text = "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb idle_lim idle_cur idle_per_thr[2]\n\
            app/a 3/1 127.0.0.9 20009 - 5000 0 1 1 0 0 -1 0 0 0\n\
            app/b 3/2 127.0.0.1 20002 - 5000 1 1 1 0 0 -1 0 0 0\n\
            app/c 3/3 127.0.0.1 20002 - 5000 0 1 1 0 0 -1 2 0 0\n";
        assert_eq!(parse_unused(text).unwrap(), ["app/a"]);
        assert_eq!(parse_unused("?"), None);
    }
}

//! The processes of an HAProxy as its master lists them (`show proc`). Pure.

/// The processes of one HAProxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// The master's process id. A reload keeps it, a restart changes it.
    pub master: u32,
    /// How often the master has reloaded, failures included.
    pub reloads: u64,
    /// How many reloads in a row have failed, up to the last one.
    pub failed: u64,
    /// The workers that run the newest configuration that could be loaded; one, as a rule.
    pub workers: Vec<u32>,
    /// The workers of earlier configurations that still serve connections.
    pub old: Vec<u32>,
}

/// The parts of the list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Workers,
    Old,
    /// Programs that the master runs beside its workers, and parts that a later version may add.
    Other,
}

impl Processes {
    /// Whether a worker of this list is an old worker in a later list.
    #[must_use]
    pub fn still_serves_in(&self, now: &Self) -> bool {
        self.workers.iter().any(|worker| now.old.contains(worker))
    }

    /// Reads the answer to `show proc`; `None` if the text is something else, or is cut off.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut part = Part::Other;
        let mut master = None;
        let (mut workers, mut old) = (Vec::new(), Vec::new());
        // Versions that may run several workers at a time number them in one more column.
        let is_numbered = text.contains("<relative PID>");
        for line in text.lines() {
            if let Some(title) = line.strip_prefix('#') {
                part = match title.trim() {
                    "workers" => Part::Workers,
                    "old workers" => Part::Old,
                    _ => Part::Other,
                };
                continue;
            }
            let line = line.replace("[was: ", "[was:");
            let words: Vec<&str> = line.split_whitespace().collect();
            let [pid, kind, rest @ ..] = words.as_slice() else {
                continue;
            };
            let reloads = || rest.get(usize::from(is_numbered))?.parse::<u64>().ok();
            match (*kind, part) {
                ("master", _) => master = Some((pid.parse().ok()?, reloads()?, failed(&line))),
                ("worker", Part::Workers) => workers.push(pid.parse().ok()?),
                ("worker", Part::Old) => old.push((pid.parse().ok()?, reloads()?)),
                (_, _) => {}
            }
        }
        let (master, reloads, failed) = master?;
        let failed = match failed {
            Some(failed) => {
                if failed > 0 {
                    restore_in_force(&mut workers, &mut old);
                }
                failed
            }
            // These versions do not count failures, but list all workers as old ones after a failure.
            None if is_numbered => u64::from(restore_in_force(&mut workers, &mut old)),
            None => return None,
        };
        Some(Self {
            master,
            reloads,
            failed,
            workers,
            old: old.into_iter().map(|(pid, _)| pid).collect(),
        })
    }
}

/// After a failed reload, versions such as 2.2 and 3.2 list all workers as old ones. Those that have seen the fewest
/// reloads are the workers in force; this moves them to `workers`, and says whether there was anything to move.
fn restore_in_force(workers: &mut Vec<u32>, old: &mut Vec<(u32, u64)>) -> bool {
    let newest = old.iter().map(|(_, reloads)| *reloads).min();
    let Some(newest) = newest.filter(|_| workers.is_empty()) else {
        return false;
    };
    let in_force = |(_, reloads): &mut (u32, u64)| *reloads == newest;
    workers.extend(old.extract_if(.., in_force).map(|(pid, _)| pid));
    true
}

/// The number in `[failed: 0]`.
fn failed(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("[failed:")?;
    rest.split_once(']')?.0.trim().parse().ok()
}

/// What became of a reload, as far as the lists before and after it show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// The reload is not over yet.
    Pending,
    /// The new configuration is in force.
    InForce,
    /// The reload has failed, and the previous configuration is still in force.
    Failed,
}

/// Compares the list from before a reload with a later one.
#[must_use]
pub fn compare(before: &Processes, now: &Processes) -> ReloadOutcome {
    let is_new = |pid: &u32| !before.workers.contains(pid) && !before.old.contains(pid);
    let has_new = now.workers.iter().any(is_new);
    // A master that was started in the meantime has read the new file.
    let is_over = now.master != before.master || now.reloads > before.reloads;
    match (is_over, now.failed, has_new) {
        (false, _, _) => ReloadOutcome::Pending,
        (true, 0, true) => ReloadOutcome::InForce,
        // The new worker is not in the list yet.
        (true, 0, false) => ReloadOutcome::Pending,
        (true, _, _) => ReloadOutcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "\
#<PID>          <type>          <reloads>       <uptime>        <version>      
24015           master          0 [failed: 0]   0d00h00m01s     2.6.12-1+deb12u4
# workers
24016           worker          0               0d00h00m01s     2.6.12-1+deb12u4
# programs
";
    const SECOND: &str = "\
#<PID>          <type>          <reloads>       <uptime>        <version>      
24015           master          3 [failed: 0]   0d00h00m02s     2.6.12-1+deb12u4
# workers
24066           worker          0               0d00h00m01s     2.6.12-1+deb12u4
# old workers
24047           worker          2               0d00h00m01s     2.6.12-1+deb12u4
# programs

";
    const FAILED: &str = "\
#<PID>          <type>          <reloads>       <uptime>        <version>      
24015           master          4 [failed: 1]   0d00h00m02s     2.6.12-1+deb12u4
# workers
24066           worker          1               0d00h00m01s     2.6.12-1+deb12u4
# old workers
24047           worker          3               0d00h00m01s     2.6.12-1+deb12u4
# programs
";
    /// As of 2.4, in whose list old workers and programs have further columns' worth of blanks.
    const OLDER: &str = "\
#<PID>          <type>          <reloads>       <uptime>        <version>      
1162            master          5 [failed: 0]   0d00h02m07s     2.4.0
# workers
1271            worker          1               0d00h00m00s     2.4.0
# old workers
1233            worker          3               0d00h00m43s     2.0-dev3-6019f6-289
# programs
1244            foo             0               0d00h00m00s     -
1255            bar             0               0d00h00m00s     -
# old programs
1266            worker          3               0d00h00m43s     -
";

    /// As of 2.2, after a reload that has failed.
    const NUMBERED: &str = "\
#<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>      
25998           master          0               3               0d00h00m03s     2.2.9-2+deb11u6
# workers
# old workers
26310           worker          [was: 1]        1               0d00h00m02s     2.2.9-2+deb11u6
26001           worker          [was: 1]        3               0d00h00m02s     2.2.9-2+deb11u6
# programs
";

    /// As of 3.2, after a reload that has failed.
    const ALL_OLD: &str = "\
#<PID>          <type>          <reloads>       <uptime>        <version>      
24878           master          1 [failed: 1]   0d00h00m06s     3.2.26-1       
# workers
# old workers
24889           worker          1               0d00h00m06s     3.2.26-1       

";

    fn read(text: &str) -> Processes {
        Processes::parse(text).unwrap()
    }

    #[test]
    fn the_lists_of_real_versions_are_read() {
        let list = |master, reloads, failed, workers: &[u32], old: &[u32]| Processes {
            master,
            reloads,
            failed,
            workers: workers.to_vec(),
            old: old.to_vec(),
        };
        assert_eq!(read(FIRST), list(24015, 0, 0, &[24016], &[]));
        assert_eq!(read(SECOND), list(24015, 3, 0, &[24066], &[24047]));
        assert_eq!(read(FAILED), list(24015, 4, 1, &[24066], &[24047]));
        assert_eq!(read(OLDER), list(1162, 5, 0, &[1271], &[1233]));
        assert_eq!(read(NUMBERED), list(25998, 3, 1, &[26310], &[26001]));
        assert_eq!(read(ALL_OLD), list(24878, 1, 1, &[24889], &[]));
        // The new worker is not in the list yet.
        let loading = ALL_OLD.replace("failed: 1", "failed: 0");
        assert_eq!(read(&loading), list(24878, 1, 0, &[], &[24889]));
        let good = NUMBERED
            .replace("# old workers\n", "")
            .replace("[was: 1]", "1");
        assert_eq!(read(&good), list(25998, 3, 0, &[26310, 26001], &[]));
        for text in [
            "",
            "Permission denied",
            "1 master x [failed: 0]",
            "1 master 0",
        ] {
            assert_eq!(Processes::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn two_lists_tell_what_became_of_a_reload() {
        let (first, second, failed) = (read(FIRST), read(SECOND), read(FAILED));
        assert_eq!(compare(&first, &first), ReloadOutcome::Pending);
        assert_eq!(compare(&first, &second), ReloadOutcome::InForce);
        assert_eq!(compare(&second, &failed), ReloadOutcome::Failed);
        // The previous worker is the only one in the list, because the master is just starting the new one.
        let counted = Processes {
            reloads: 4,
            ..second.clone()
        };
        assert_eq!(compare(&second, &counted), ReloadOutcome::Pending);
        // After a restart everything counts from the start.
        let restarted = Processes {
            master: 7,
            workers: vec![8],
            ..first
        };
        assert_eq!(compare(&second, &restarted), ReloadOutcome::InForce);
    }
}

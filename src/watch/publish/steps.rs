//! The steps of a publish, each a type whose only way on is the next step, so that a wrong order does not compile. Shell.
//!
//! Whatever is dropped on the way takes its candidate files with it; each live file is the old one or the new one at
//! every instant.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::access_state::AccessState;
use super::{Change, Digest, Foreign, Progress, PublishError, blocking};
use crate::config::{Output, Target};
use crate::model::fingerprint::content_hash;
use crate::system::check_tree::Mirror;
use crate::system::command::{self, CommandError, Left};
use crate::system::file::{self, Access, Candidate, FileState, Properties, SwapMethod};
use crate::system::process;
use crate::system::xattr::Attributes;
use crate::watch::conf::load::Loaded;
use crate::watch::conf::placeholders::{Paths, asks_for_tree, fill_in, judges_in_place};
use crate::watch::render::{Generation, View, stamp};

/// The mode of a file that is not there yet, unless conf.d says otherwise.
const MODE: u32 = 0o644;

/// One output of a target on its way.
pub(super) enum Part<N> {
    /// The live file is this, and right.
    Same(String),
    /// It is to be replaced.
    New(N),
}

impl<N> Part<N> {
    fn differing(&self) -> Option<&N> {
        match self {
            Self::Same(_) => None,
            Self::New(new) => Some(new),
        }
    }
}

impl Part<(New, SwapMethod)> {
    fn content(&self) -> &str {
        match self {
            Self::Same(live) => live,
            Self::New((new, _)) => &new.text,
        }
    }
}

/// The texts that should be in the files.
pub(super) struct Rendered {
    texts: Vec<String>,
    pub(super) generation: Option<Generation>,
    /// Where announcements contradict each other.
    pub(super) disputes: BTreeSet<String>,
}

pub(super) enum Compared {
    /// The live files are these, and right.
    Same(Vec<String>),
    Differs(Differs),
}

/// Files of which at least one differs from what is live, in content or access.
pub(super) struct Differs(Vec<Part<New>>);

/// A text that is to become the live file.
pub(super) struct New {
    /// Where the file really lies.
    pub(super) dest: PathBuf,
    pub(super) text: String,
    pub(super) access: Access,
    /// What is remembered to whom files are open.
    pub(super) state: Arc<AccessState>,
    /// The attributes that it is remembered to have had, if there is no file, or one of somebody else's.
    pub(super) remembered: Option<Attributes>,
    pub(super) previous: Option<FileState>,
}

/// Candidates beside the live files.
pub(super) struct Staged(Vec<Part<(Candidate, New)>>);

/// Candidates that the checks have accepted which can judge them.
pub(super) struct Checked(Staged);

/// The new files are in place; their program does not know yet.
pub(super) struct Swapped(Vec<Part<(New, SwapMethod)>>);

impl Rendered {
    pub(super) fn new(loaded: &Loaded, views: &[View]) -> Result<Self, PublishError> {
        let pairs = loaded.templates.iter().zip(views);
        let texts: Result<Vec<_>, _> = pairs
            .map(|(template, view)| template.render(view))
            .collect();
        let mut texts = texts?;
        let generation = stamp(&mut texts);
        let pairs = loaded.templates.iter().zip(views);
        let disputes = pairs.flat_map(|(template, view)| template.disputes(view));
        let disputes = disputes.collect();
        if loaded.target.generation.is_some() && generation.is_none() {
            return Err(PublishError::NoGeneration);
        }
        Ok(Self {
            texts,
            generation,
            disputes,
        })
    }

    pub(super) fn fingerprint(&self) -> u64 {
        content_hash(self.texts.iter().map(String::as_bytes))
    }

    /// What is live, compared with these; and what the files should be.
    pub(super) fn compare(
        self,
        target: &Target,
        state: &Arc<AccessState>,
        noop: bool,
    ) -> Result<(Compared, Vec<Digest>), PublishError> {
        let pairs = target.outputs.iter().zip(self.texts);
        let parts = pairs.map(|(output, text)| compare(output, text, state, noop));
        let parts: Result<Vec<_>, _> = parts.collect();
        let (parts, wanted): (Vec<_>, Vec<_>) = parts?.into_iter().unzip();
        if parts.iter().any(|part| part.differing().is_some()) {
            return Ok((Compared::Differs(Differs(parts)), wanted));
        }
        let same = |part: Part<New>| match part {
            Part::Same(live) => live,
            Part::New(new) => new.text,
        };
        let same = parts.into_iter().map(same).collect();
        Ok((Compared::Same(same), wanted))
    }
}

impl Compared {
    /// What somebody else has changed since these files were left, and is not what they should be.
    pub(super) fn foreign(
        &self,
        target: &Target,
        left: &[Digest],
        wanted: &[Digest],
    ) -> Vec<Foreign> {
        let Self::Differs(differs) = self else {
            return Vec::new();
        };
        let is_foreign = |(n, new): &(usize, &New)| {
            let found = new.previous.as_ref().map(Digest::of_look);
            left.get(*n).is_some_and(|left| found != Some(*left))
                && found != wanted.get(*n).copied()
        };
        let foreign = differs.news().filter(is_foreign);
        let foreign = foreign.map(|(n, new)| Foreign::of(&target.outputs[n].dest, new));
        foreign.collect()
    }
}

fn compare(
    output: &Output,
    text: String,
    state: &Arc<AccessState>,
    noop: bool,
) -> Result<(Part<New>, Digest), PublishError> {
    let dest = file::resolve(&output.dest).map_err(PublishError::at("find", &output.dest))?;
    let found = file::read_with_properties(&dest).map_err(PublishError::at("read", &dest))?;
    let remembered = state.remembered(&dest, found.as_ref());
    let has = remembered.as_ref().map(|standing| standing.access);
    let has = has.or(found.as_ref().map(|(look, _)| look.access));
    let access = access(output, has);
    let wanted = Digest::of(text.as_bytes(), access);
    let is_same = found.as_ref().is_some_and(|(look, standing)| {
        let has_attributes = |one: &Properties| one.attributes == standing.attributes;
        look.access == access
            && look.content == text.as_bytes()
            && remembered.as_ref().is_none_or(has_attributes)
    });
    // What somebody has given to the file that was left is meant, and what is right is right.
    if let Some((look, standing)) = &found
        && (is_same || remembered.is_none())
        && !noop
    {
        state.note(&dest, look, standing.clone());
    }
    if is_same {
        return Ok((Part::Same(text), wanted));
    }
    let new = New {
        dest,
        text,
        access,
        state: Arc::clone(state),
        remembered: remembered.map(|standing| standing.attributes),
        previous: found.map(|(look, _)| look),
    };
    Ok((Part::New(new), wanted))
}

/// What conf.d says, else what the file has or had, else what we would make.
fn access(output: &Output, has: Option<Access>) -> Access {
    let own = process::effective_ids();
    Access {
        mode: output.mode.or(has.map(|has| has.mode)).unwrap_or(MODE),
        uid: output.owner.uid.or(has.map(|has| has.uid)).unwrap_or(own.0),
        gid: output.owner.gid.or(has.map(|has| has.gid)).unwrap_or(own.1),
    }
}

impl Differs {
    /// What is to be replaced, by its place among the outputs.
    pub(super) fn news(&self) -> impl Iterator<Item = (usize, &New)> {
        let parts = self.0.iter().enumerate();
        parts.filter_map(|(n, part)| Some((n, part.differing()?)))
    }

    /// Whether this output is to be replaced.
    pub(super) fn is_new(&self, output: usize) -> bool {
        self.0[output].differing().is_some()
    }

    /// All outputs by their places: what is live, and what should be.
    pub(super) fn texts(&self) -> impl Iterator<Item = (usize, Option<&[u8]>, &str)> {
        self.0.iter().enumerate().map(|(n, part)| match part {
            Part::Same(live) => (n, Some(live.as_bytes()), live.as_str()),
            Part::New(new) => {
                let live = new.previous.as_ref().map(|look| look.content.as_slice());
                (n, live, new.text.as_str())
            }
        })
    }

    /// What is live now.
    pub(super) fn lives(&self) -> super::Lives {
        let lives = self.texts().map(|(_, live, _)| live);
        lives.map(|live| live.map(<[u8]>::to_vec)).collect()
    }

    /// What all files are to be, by their places among the outputs.
    pub(super) fn contents(&self) -> impl Iterator<Item = (usize, &str)> {
        self.texts().map(|(n, _, new)| (n, new))
    }

    pub(super) fn stage(self, target: &Target) -> Result<Staged, PublishError> {
        let mut staged = Vec::new();
        for (part, output) in self.0.into_iter().zip(&target.outputs) {
            staged.push(match part {
                Part::Same(live) => Part::Same(live),
                Part::New(new) => Part::New((new.stage(output.make_dirs)?, new)),
            });
        }
        Ok(Staged(staged))
    }
}

impl New {
    fn stage(&self, make_dirs: bool) -> Result<Candidate, PublishError> {
        let made = if make_dirs {
            file::make_parents(&self.dest)
        } else {
            Ok(())
        };
        let (dest, text) = (&self.dest, self.text.as_bytes());
        let stage = |()| match &self.remembered {
            Some(attributes) => Candidate::stage_remembered(dest, text, self.access, attributes),
            None => Candidate::stage(dest, text, self.access),
        };
        made.and_then(stage)
            .map_err(PublishError::at("stage a file beside", &self.dest))
    }

    /// Puts the file of before in its place again.
    fn put_back(&self) -> io::Result<()> {
        match &self.previous {
            Some(previous) => {
                Candidate::stage(&self.dest, &previous.content, previous.access)?.swap()?;
                // To whom the file of somebody else was open is nothing to go by.
                if self.remembered.is_none() {
                    self.state.note_ours(&self.dest, &previous.content);
                }
                Ok(())
            }
            None => std::fs::remove_file(&self.dest),
        }
    }
}

impl Staged {
    /// Runs the checks that can judge a candidate, each with its own, or with the live file where nothing changes.
    pub(super) async fn check(
        self,
        target: &Target,
        scratch: &Path,
    ) -> Result<Checked, PublishError> {
        let mut passed: Vec<String> = Vec::new();
        for (output, part) in target.outputs.iter().zip(&self.0) {
            let Some(check) = output
                .check
                .as_ref()
                .filter(|check| !judges_in_place(check))
            else {
                continue;
            };
            let mirror = if asks_for_tree(check) {
                Some(self.mirror(target, output, scratch)?)
            } else {
                None
            };
            let paths = Paths {
                src: part
                    .differing()
                    .map_or(&*output.dest, |(candidate, _)| candidate.path()),
                dest: &output.dest,
                tree: mirror.as_ref().map(Mirror::path),
            };
            let command = fill_in(check, paths);
            if passed.contains(&command) {
                continue;
            }
            let printed = command::run(&command, target.check_timeout, Left::Killed).await;
            let printed = printed.map_err(|error| PublishError::Check {
                has_live: self.has_live(),
                source: Box::new(error),
            })?;
            tracing::debug!(
                target_name = target.name,
                printed,
                "the check accepts the new file"
            );
            passed.push(command);
        }
        Ok(Checked(self))
    }

    fn has_live(&self) -> bool {
        let mut news = self.0.iter().map(Part::differing);
        news.any(|new| new.is_none_or(|(_, new)| new.previous.is_some()))
    }

    /// The tree that an output belongs to, with all candidates in the places of their files.
    fn mirror(
        &self,
        target: &Target,
        output: &Output,
        scratch: &Path,
    ) -> Result<Mirror, PublishError> {
        let own = output.dest.parent().unwrap_or(Path::new("/"));
        let root = target.tree.as_deref().unwrap_or(own);
        let pairs = target.outputs.iter().zip(&self.0);
        let staged = pairs.filter_map(|(output, part)| {
            let (candidate, _) = part.differing()?;
            Some((output.dest.as_path(), candidate.path()))
        });
        let staged: Vec<_> = staged.collect();
        let failed = PublishError::at("make a copy for the check of", root);
        Mirror::make(root, &staged, (scratch, &target.name)).map_err(failed)
    }
}

/// Runs the checks of a target with the files that are live: those which can judge only these, or all.
pub(super) async fn check_in_place(target: &Target, all: bool) -> Result<(), CommandError> {
    let mut passed: Vec<String> = Vec::new();
    for output in &target.outputs {
        let is_due = |check: &&String| all || judges_in_place(check);
        let Some(check) = output.check.as_ref().filter(is_due) else {
            continue;
        };
        let paths = Paths {
            src: &output.dest,
            dest: &output.dest,
            tree: target.tree.as_deref().or(output.dest.parent()),
        };
        let command = fill_in(check, paths);
        if !passed.contains(&command) {
            command::run(&command, target.check_timeout, Left::Killed).await?;
            passed.push(command);
        }
    }
    Ok(())
}

impl Checked {
    /// What is about to be replaced: the place among the outputs, what is live there now, and what follows it.
    pub(super) fn news(&self) -> impl Iterator<Item = (usize, Option<&[u8]>, &str)> {
        let parts = self.0.0.iter().enumerate();
        parts.filter_map(|(n, part)| {
            let (_, new) = part.differing()?;
            let live = new.previous.as_ref().map(|look| look.content.as_slice());
            Some((n, live, new.text.as_str()))
        })
    }

    /// What is about to be replaced: the place among the outputs, and what is live there now.
    pub(super) fn lives(&self) -> impl Iterator<Item = (usize, Option<&[u8]>)> {
        let parts = self.0.0.iter().enumerate();
        parts.filter_map(|(n, part)| {
            let (_, new) = part.differing()?;
            let live = new.previous.as_ref().map(|look| look.content.as_slice());
            Some((n, live))
        })
    }

    /// Puts all new files in place. If one cannot be, those before it are taken back.
    pub(super) fn swap(self) -> Result<Swapped, PublishError> {
        let mut swapped = Vec::new();
        for part in self.0.0 {
            let (candidate, new) = match part {
                Part::Same(live) => {
                    swapped.push(Part::Same(live));
                    continue;
                }
                Part::New(staged) => staged,
            };
            match candidate.swap() {
                Ok(how) => {
                    new.state.note_ours(&new.dest, new.text.as_bytes());
                    swapped.push(Part::New((new, how)));
                }
                Err(source) => {
                    for (new, _) in swapped.iter().rev().filter_map(Part::differing) {
                        // The next try sets right what cannot be put back now.
                        let _ = new.put_back();
                    }
                    return Err(PublishError::at("replace", &new.dest)(source));
                }
            }
        }
        Ok(Swapped(swapped))
    }
}

impl Swapped {
    /// The live files of a target, as if they had just been swapped in for these, where there are such.
    pub(super) fn for_these(
        target: &Target,
        state: &Arc<AccessState>,
        live: &[String],
        before: Vec<Option<Vec<u8>>>,
    ) -> io::Result<Self> {
        let mut parts = Vec::new();
        for ((output, text), before) in target.outputs.iter().zip(live).zip(before) {
            let text = text.clone();
            let Some(content) = before else {
                parts.push(Part::Same(text));
                continue;
            };
            let dest = file::resolve(&output.dest)?;
            let access = access(output, file::read(&dest)?.map(|look| look.access));
            let new = New {
                dest,
                text,
                access,
                state: Arc::clone(state),
                remembered: None,
                previous: Some(FileState { content, access }),
            };
            parts.push(Part::New((new, SwapMethod::Renamed)));
        }
        Ok(Self(parts))
    }

    /// Live files of which none has been replaced.
    pub(super) fn unchanged(live: &[String]) -> Self {
        Self(live.iter().cloned().map(Part::Same).collect())
    }

    /// The same as if they had been swapped in over other files: where `before` knows what was there, it is that.
    pub(super) fn over(
        self,
        target: &Target,
        state: &Arc<AccessState>,
        before: impl Fn(usize, &str) -> Option<Option<Vec<u8>>>,
    ) -> io::Result<Self> {
        let mut parts = Vec::new();
        for (n, (part, output)) in self.0.into_iter().zip(&target.outputs).enumerate() {
            let Some(before) = before(n, part.content()) else {
                parts.push(part);
                continue;
            };
            let (mut new, how) = match part {
                Part::New(new) => new,
                Part::Same(text) => {
                    let dest = file::resolve(&output.dest)?;
                    let access = access(output, file::read(&dest)?.map(|look| look.access));
                    let new = New {
                        dest,
                        text,
                        access,
                        state: Arc::clone(state),
                        remembered: None,
                        previous: None,
                    };
                    (new, SwapMethod::Renamed)
                }
            };
            let access = new.previous.as_ref().map_or(new.access, |look| look.access);
            new.previous = before.map(|content| FileState { content, access });
            parts.push(Part::New((new, how)));
        }
        Ok(Self(parts))
    }

    /// Takes the new files out of their places: the previous ones come back, and where there was none the new one is
    /// removed. Whether any had a previous one.
    pub(super) async fn take_out(self, progress: &Arc<Progress>) -> io::Result<bool> {
        let taken = blocking(progress, move || {
            let news = self.0.iter().filter_map(Part::differing);
            let tried: Vec<io::Result<()>> = news.clone().map(|(new, _)| new.put_back()).collect();
            // All are tried, whatever becomes of the others.
            tried.into_iter().collect::<io::Result<()>>()?;
            Ok(news.clone().any(|(new, _)| new.previous.is_some()))
        });
        taken.await.map_err(io::Error::other)?
    }

    /// What is live now, by its place among the outputs.
    pub(super) fn contents(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0.iter().map(Part::content).enumerate()
    }

    /// What has been replaced.
    pub(super) fn into_changes(self) -> Vec<Change> {
        let change = |part: Part<(New, SwapMethod)>| match part {
            Part::Same(_) => None,
            Part::New((new, how)) => Some(Change {
                dest: new.dest,
                how,
                before: new.previous.map(|look| look.content),
                after: new.text,
            }),
        };
        self.0.into_iter().filter_map(change).collect()
    }

    /// Puts the previous files back; what is live then, by its place among the outputs. `None` if there was none: then
    /// the new ones stay.
    pub(super) async fn put_back(
        self,
        progress: &Arc<Progress>,
    ) -> io::Result<Option<Vec<(usize, Vec<u8>)>>> {
        let had = |(new, _): &(New, SwapMethod)| new.previous.is_some();
        if !self.0.iter().filter_map(Part::differing).any(had) {
            return Ok(None);
        }
        let restored = blocking(progress, move || {
            let mut live = Vec::new();
            for (n, part) in self.0.into_iter().enumerate() {
                match part {
                    Part::Same(content) => live.push((n, content.into_bytes())),
                    Part::New((new, _)) => {
                        new.put_back()?;
                        live.extend(new.previous.map(|look| (n, look.content)));
                    }
                }
            }
            Ok(Some(live))
        });
        restored.await.map_err(io::Error::other)?
    }
}

//! The steps of a publish, each a type whose only way on is the next step, so that a wrong order does not compile. Shell.
//!
//! A step that is dropped removes its candidate files. Each live file is the whole old one or the whole new one at every
//! instant.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::access_state::AccessState;
use super::{Change, Digest, ForeignEdit, Progress, PublishError, run_blocking};
use crate::config::{Output, Target};
use crate::model::fingerprint::content_hash;
use crate::system::check_tree::CheckTree;
use crate::system::command::{self, CommandError, Left};
use crate::system::file::{self, Access, Candidate, FileState, Properties, SwapMethod};
use crate::system::process;
use crate::system::xattr::Attributes;
use crate::watch::conf::load::Loaded;
use crate::watch::conf::placeholders::{Paths, asks_for_tree, fill_in, judges_in_place};
use crate::watch::render::{Generation, View, stamp};

/// The mode of a new file, unless conf.d names one.
const MODE: u32 = 0o644;

/// One output of a target in one of the steps.
pub(super) enum Part<N> {
    /// The live file has this content, which is right.
    Same(String),
    /// The live file is to be replaced.
    New(N),
}

impl<N> Part<N> {
    fn as_new(&self) -> Option<&N> {
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

/// The contents that the files should have.
pub(super) struct Rendered {
    /// In the order of the outputs.
    texts: Vec<String>,
    pub(super) generation: Option<Generation>,
    /// Where announcements contradict each other.
    pub(super) disputes: BTreeSet<String>,
}

/// The rendered contents, compared with the live files.
pub(super) enum Compared {
    /// The live files have these contents, and all of them are right.
    Same(Vec<String>),
    Differs(Differs),
}

/// Files of which at least one differs from what is live, in content or access.
pub(super) struct Differs(Vec<Part<New>>);

/// A new file that is to replace the live one.
pub(super) struct New {
    /// Where the file lies; symbolic links are resolved.
    pub(super) dest: PathBuf,
    pub(super) text: String,
    /// The mode and owners that the new file gets.
    pub(super) access: Access,
    pub(super) state: Arc<AccessState>,
    /// The attributes that our last file had, if it is gone or another program has put a file in its place.
    pub(super) remembered: Option<Attributes>,
    /// The live file before the swap; `None` if there was none.
    pub(super) previous: Option<FileState>,
}

/// Candidates that lie beside the live files.
pub(super) struct Staged(Vec<Part<(Candidate, New)>>);

/// Candidates that were accepted by every check that can judge a candidate.
pub(super) struct Checked(Staged);

/// New files in their places, of which the program does not know yet.
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

    /// Compares the texts with the live files. The digests say what the files should be. Where the files are right, it
    /// remembers their access, except with `noop`.
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
        if parts.iter().any(|part| part.as_new().is_some()) {
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
    /// The files that differ both from what the last publish left and from what they should be: somebody else has changed
    /// them.
    pub(super) fn foreign_edits(
        &self,
        target: &Target,
        last_digests: &[Digest],
        wanted: &[Digest],
    ) -> Vec<ForeignEdit> {
        let Self::Differs(differs) = self else {
            return Vec::new();
        };
        let was_edited = |(n, new): &(usize, &New)| {
            let found = new.previous.as_ref().map(Digest::of_look);
            last_digests
                .get(*n)
                .is_some_and(|last| found != Some(*last))
                && found != wanted.get(*n).copied()
        };
        let foreign = differs.news().filter(was_edited);
        let foreign = foreign.map(|(n, new)| ForeignEdit::of(&target.outputs[n].dest, new));
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
    let remembered = state.find_remembered(&dest, found.as_ref());
    let has = remembered.as_ref().map(|properties| properties.access);
    let has = has.or(found.as_ref().map(|(look, _)| look.access));
    let access = access(output, has);
    let wanted = Digest::of(text.as_bytes(), access);
    let is_same = found.as_ref().is_some_and(|(look, properties)| {
        let has_attributes = |one: &Properties| one.attributes == properties.attributes;
        look.access == access
            && look.content == text.as_bytes()
            && remembered.as_ref().is_none_or(has_attributes)
    });
    // A mode or owner that somebody has given to the file of the last publish is meant, so it is remembered. That of another
    // file in its place is remembered only if it is right anyway.
    if let Some((look, properties)) = &found
        && (is_same || remembered.is_none())
        && !noop
    {
        state.remember(&dest, look, properties.clone());
    }
    if is_same {
        return Ok((Part::Same(text), wanted));
    }
    let new = New {
        dest,
        text,
        access,
        state: Arc::clone(state),
        remembered: remembered.map(|properties| properties.attributes),
        previous: found.map(|(look, _)| look),
    };
    Ok((Part::New(new), wanted))
}

/// The access of a new file: what conf.d says, else what the current or the last file has, else our own ids and [`MODE`].
fn access(output: &Output, current: Option<Access>) -> Access {
    let own = process::effective_ids();
    Access {
        mode: output
            .mode
            .or(current.map(|current| current.mode))
            .unwrap_or(MODE),
        uid: output
            .owner
            .uid
            .or(current.map(|current| current.uid))
            .unwrap_or(own.0),
        gid: output
            .owner
            .gid
            .or(current.map(|current| current.gid))
            .unwrap_or(own.1),
    }
}

impl Differs {
    /// The new files, each with the place of its output.
    pub(super) fn news(&self) -> impl Iterator<Item = (usize, &New)> {
        let parts = self.0.iter().enumerate();
        parts.filter_map(|(n, part)| Some((n, part.as_new()?)))
    }

    /// Whether the file of this output is to be replaced.
    pub(super) fn is_new(&self, output: usize) -> bool {
        self.0[output].as_new().is_some()
    }

    /// For each output its place, the content of its live file, and the content that it should have.
    pub(super) fn texts(&self) -> impl Iterator<Item = (usize, Option<&[u8]>, &str)> {
        self.0.iter().enumerate().map(|(n, part)| match part {
            Part::Same(live) => (n, Some(live.as_bytes()), live.as_str()),
            Part::New(new) => {
                let live = new.previous.as_ref().map(|look| look.content.as_slice());
                (n, live, new.text.as_str())
            }
        })
    }

    pub(super) fn live_contents(&self) -> super::LiveContents {
        let lives = self.texts().map(|(_, live, _)| live);
        lives.map(|live| live.map(<[u8]>::to_vec)).collect()
    }

    /// The contents that all files should have, each with the place of its output.
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

    /// Puts the previous file back; removes the new one if there was none.
    fn restore_previous(&self) -> io::Result<()> {
        match &self.previous {
            Some(previous) => {
                Candidate::stage(&self.dest, &previous.content, previous.access)?.swap()?;
                // If the previous file was somebody else's, its access is not remembered.
                if self.remembered.is_none() {
                    self.state.remember_published(&self.dest, &previous.content);
                }
                Ok(())
            }
            None => std::fs::remove_file(&self.dest),
        }
    }
}

impl Staged {
    /// Runs the checks that can judge a candidate. An output that does not change is checked with its live file.
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
            let tree = if asks_for_tree(check) {
                Some(self.make_check_tree(target, output, scratch)?)
            } else {
                None
            };
            let paths = Paths {
                src: part
                    .as_new()
                    .map_or(&*output.dest, |(candidate, _)| candidate.path()),
                dest: &output.dest,
                tree: tree.as_ref().map(CheckTree::path),
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
                target = target.name,
                "{}: the check accepts the new file, and prints: {printed}",
                target.name
            );
            passed.push(command);
        }
        Ok(Checked(self))
    }

    fn has_live(&self) -> bool {
        let mut news = self.0.iter().map(Part::as_new);
        news.any(|new| new.is_none_or(|(_, new)| new.previous.is_some()))
    }

    /// Makes a copy of the tree that an output belongs to, with all candidates in the places of their files.
    fn make_check_tree(
        &self,
        target: &Target,
        output: &Output,
        scratch: &Path,
    ) -> Result<CheckTree, PublishError> {
        let own = output.dest.parent().unwrap_or(Path::new("/"));
        let root = target.tree.as_deref().unwrap_or(own);
        let pairs = target.outputs.iter().zip(&self.0);
        let staged = pairs.filter_map(|(output, part)| {
            let (candidate, _) = part.as_new()?;
            Some((output.dest.as_path(), candidate.path()))
        });
        let staged: Vec<_> = staged.collect();
        let failed = PublishError::at("make a copy for the check of", root);
        CheckTree::make(root, &staged, (scratch, &target.name)).map_err(failed)
    }
}

/// Runs checks of a target on its live files: those that can judge only a live file, or `all`.
pub(super) async fn check_live_files(target: &Target, all: bool) -> Result<(), CommandError> {
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
    /// The files that are about to be replaced: the place of the output, the live content, and the new content.
    pub(super) fn news(&self) -> impl Iterator<Item = (usize, Option<&[u8]>, &str)> {
        let parts = self.0.0.iter().enumerate();
        parts.filter_map(|(n, part)| {
            let (_, new) = part.as_new()?;
            let live = new.previous.as_ref().map(|look| look.content.as_slice());
            Some((n, live, new.text.as_str()))
        })
    }

    /// Puts all new files in place. If one of them fails, the files before it are restored.
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
                    new.state.remember_published(&new.dest, new.text.as_bytes());
                    swapped.push(Part::New((new, how)));
                }
                Err(source) => {
                    for (new, _) in swapped.iter().rev().filter_map(Part::as_new) {
                        // A file that cannot be restored now is set right by the next try.
                        let _ = new.restore_previous();
                    }
                    return Err(PublishError::at("replace", &new.dest)(source));
                }
            }
        }
        Ok(Swapped(swapped))
    }
}

impl Swapped {
    /// The live files of a target, as if this publish had swapped them in over the files `before`, where there are such.
    /// A process that died after the swap has left them.
    pub(super) fn with_previous(
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

    /// Live files of which this publish has replaced none.
    pub(super) fn unchanged(live: &[String]) -> Self {
        Self(live.iter().cloned().map(Part::Same).collect())
    }

    /// The same files, but with the previous content that `before` knows for an output and its live content. `before` gives
    /// `Some(None)` where there was no file.
    pub(super) fn with_previous_where(
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

    /// Takes the new files out of their places: restores the previous ones, and removes a new one that had none. Returns
    /// whether any previous file was restored.
    pub(super) async fn take_out(self, progress: &Arc<Progress>) -> io::Result<bool> {
        let taken = run_blocking(progress, move || {
            let news = self.0.iter().filter_map(Part::as_new);
            let tried: Vec<io::Result<()>> = news
                .clone()
                .map(|(new, _)| new.restore_previous())
                .collect();
            // Each file is tried, also after another one failed.
            tried.into_iter().collect::<io::Result<()>>()?;
            Ok(news.clone().any(|(new, _)| new.previous.is_some()))
        });
        taken.await.map_err(io::Error::other)?
    }

    /// The contents of the live files, each with the place of its output.
    pub(super) fn contents(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0.iter().map(Part::content).enumerate()
    }

    /// The files that were replaced.
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

    /// Restores the previous files and returns what is live then, each with the place of its output. Where no file had a
    /// previous one, the new files stay, and it returns `None`.
    pub(super) async fn restore_previous(
        self,
        progress: &Arc<Progress>,
    ) -> io::Result<Option<Vec<(usize, Vec<u8>)>>> {
        let had = |(new, _): &(New, SwapMethod)| new.previous.is_some();
        if !self.0.iter().filter_map(Part::as_new).any(had) {
            return Ok(None);
        }
        let restored = run_blocking(progress, move || {
            let mut live = Vec::new();
            for (n, part) in self.0.into_iter().enumerate() {
                match part {
                    Part::Same(content) => live.push((n, content.into_bytes())),
                    Part::New((new, _)) => {
                        new.restore_previous()?;
                        live.extend(new.previous.map(|look| (n, look.content)));
                    }
                }
            }
            Ok(Some(live))
        });
        restored.await.map_err(io::Error::other)?
    }
}

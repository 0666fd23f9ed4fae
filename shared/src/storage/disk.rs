//! What a killed process can leave on a disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Uploads under way had names before this version.
const SPOOL_PREFIX: &str = "upload-";

/// Spooled uploads below `spool` and half-written objects below `root` that nothing has written to
/// for `age`. The age is measured by the file system that keeps the files, so no process's clock
/// matters.
pub(super) fn abandoned_temp_files(
    spool: &Path,
    root: Option<&Path>,
    age: Duration,
) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(
        spool,
        written_before(spool, age)?,
        &|name| name.starts_with(SPOOL_PREFIX),
        &mut found,
    )?;
    if let Some(root) = root {
        collect(root, written_before(spool, age)?, &is_staged, &mut found)?;
    }
    Ok(found)
}

/// The time `age` ago by the clock that gives files in this folder their times.
fn written_before(folder: &Path, age: Duration) -> io::Result<SystemTime> {
    let probe = tempfile::Builder::new().prefix(SPOOL_PREFIX).tempfile_in(folder)?;
    let now = probe.as_file().metadata()?.modified()?;
    now.checked_sub(age).ok_or_else(|| io::Error::other("the age is before the start of time"))
}

/// `object_store` writes `name#1` and renames it to `name` when it is whole; its listings hide such
/// files.
fn is_staged(name: &str) -> bool {
    name.rsplit_once('#')
        .is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn collect(
    folder: &Path,
    before: SystemTime,
    wanted: &dyn Fn(&str) -> bool,
    found: &mut Vec<PathBuf>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // a file that goes away meanwhile was not abandoned
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            collect(&entry.path(), before, wanted, found)?;
        } else if entry.file_name().to_str().is_some_and(wanted) && metadata.modified()? <= before {
            found.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_and_spooled_files_are_abandoned_and_whole_objects_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (spool, root) = (folder.path().join("tmp"), folder.path().join("media/originals/3f"));
        fs::create_dir_all(&spool).expect("spool");
        fs::create_dir_all(&root).expect("media");
        for file in
            [spool.join("upload-x"), spool.join("other"), root.join("a.jpg"), root.join("a.jpg#1")]
        {
            fs::write(file, "x").expect("a file");
        }
        let media = folder.path().join("media");
        let mut found =
            abandoned_temp_files(&spool, Some(&media), Duration::ZERO).expect("a listing");
        found.sort();
        assert_eq!(found, [root.join("a.jpg#1"), spool.join("upload-x")]);
        let hour = Duration::from_hours(1);
        assert!(abandoned_temp_files(&spool, Some(&media), hour).expect("a listing").is_empty());
    }

    #[test]
    fn the_age_is_measured_by_the_file_system() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = fs::File::create(folder.path().join("upload-x")).expect("a file");
        let now = file.metadata().expect("metadata").modified().expect("a time");
        let found = |age| abandoned_temp_files(folder.path(), None, age).expect("a listing").len();
        file.set_modified(now - Duration::from_mins(59)).expect("an older file");
        assert_eq!(found(Duration::from_hours(1)), 0);
        file.set_modified(now - Duration::from_mins(61)).expect("an older file");
        assert_eq!(found(Duration::from_hours(1)), 1);
    }
}

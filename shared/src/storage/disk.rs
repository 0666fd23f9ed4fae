//! What a killed process can leave on a disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

pub(super) const SPOOL_PREFIX: &str = "upload-";

/// Spooled uploads below `spool` and half-written objects below `root` that nothing has written to since `before`.
pub(super) fn abandoned_temp_files(
    spool: &Path,
    root: Option<&Path>,
    before: DateTime<Utc>,
) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(spool, before, &|name| name.starts_with(SPOOL_PREFIX), &mut found)?;
    if let Some(root) = root {
        collect(root, before, &is_staged, &mut found)?;
    }
    Ok(found)
}

/// `object_store` writes `name#1` and renames it to `name` when it is whole; its listings hide such files.
fn is_staged(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn collect(
    folder: &Path,
    before: DateTime<Utc>,
    wanted: &dyn Fn(&str) -> bool,
    found: &mut Vec<PathBuf>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // a file that goes away meanwhile was not abandoned
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            collect(&entry.path(), before, wanted, found)?;
        } else if entry.file_name().to_str().is_some_and(wanted)
            && DateTime::<Utc>::from(metadata.modified()?) <= before
        {
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
        for file in [spool.join("upload-x"), spool.join("other"), root.join("a.jpg"), root.join("a.jpg#1")] {
            fs::write(file, "x").expect("a file");
        }
        let media = folder.path().join("media");
        let future = DateTime::<Utc>::MAX_UTC;
        let mut found = abandoned_temp_files(&spool, Some(&media), future).expect("a listing");
        found.sort();
        assert_eq!(found, [root.join("a.jpg#1"), spool.join("upload-x")]);
        let old = abandoned_temp_files(&spool, Some(&media), DateTime::UNIX_EPOCH).expect("a listing");
        assert!(old.is_empty());
    }
}

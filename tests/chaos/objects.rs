//! What is in the object store, seen without the program's own code.

use std::{collections::BTreeMap, fs, io, net::SocketAddr, path::Path};

/// Sizes in bytes by key.
pub(crate) type Objects = BTreeMap<String, u64>;

/// Every file below a folder; files that the store has not finished are left out.
pub(crate) fn on_disk(root: &Path) -> io::Result<Objects> {
    let mut found = Objects::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            // a file may go away meanwhile
            let Ok(metadata) = path.metadata() else { continue };
            let key = path.strip_prefix(root).map_err(io::Error::other)?.display().to_string();
            if metadata.is_dir() {
                folders.push(path);
            } else if !key.contains('#') {
                found.insert(key, metadata.len());
            }
        }
    }
    Ok(found)
}

/// Every object of a bucket that everybody may list.
pub(crate) async fn in_bucket(server: SocketAddr, bucket: &str) -> reqwest::Result<Objects> {
    let mut found = Objects::new();
    loop {
        let after =
            found.last_key_value().map(|(key, _)| key.replace('/', "%2F")).unwrap_or_default();
        let url = format!("http://{server}/{bucket}?list-type=2&start-after={after}");
        let xml = reqwest::get(url).await?.error_for_status()?.text().await?;
        let before = found.len();
        for object in xml.split("<Contents>").skip(1) {
            let size = element(object, "Size").and_then(|size| size.parse().ok());
            found.extend(element(object, "Key").map(str::to_owned).zip(size));
        }
        if found.len() == before || element(&xml, "IsTruncated") != Some("true") {
            return Ok(found);
        }
    }
}

/// The text of the first element of this name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once("</")?.0)
}

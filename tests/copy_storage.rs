//! Moving the files to another storage.

use std::{fs, path::Path};

use reqwest::StatusCode;

use crate::harness::{
    ImageLinks, S3Server, Site, create_bucket, ended, files, log_in, pictures, processes::Pictier,
};

fn disk(data: &Path) -> String {
    format!("disk:{}", data.display())
}

/// Verifies and audits the files with other settings.
fn expect_whole(of: impl Fn(&[&str]) -> Pictier) {
    for check in ["verify", "audit", "cleanup"] {
        let (code, said) = ended(of(&[check]));
        assert_eq!(code, Some(0), "{check}: {said}");
    }
}

#[tokio::test]
async fn files_move_to_another_folder_and_what_is_there_is_not_copied_again() {
    let site = Site::used().await;
    let unknown = site.data().join("media/originals/ab/ab000000-0000-4000-8000-000000000000.png");
    fs::create_dir_all(unknown.parent().expect("a folder")).expect("a folder");
    fs::write(&unknown, "somebody has to look at it").expect("an original without a row");
    let new = tempfile::tempdir().expect("a folder");
    let media = new.path().join("media");
    let (from, to) = (disk(site.data()), disk(new.path()));
    // what an earlier run left: one whole file and a damaged one
    let sources = site.files();
    let copies: Vec<_> = sources
        .iter()
        .map(|file| media.join(file.strip_prefix(site.data().join("media")).expect("below")))
        .collect();
    let named: Vec<_> = (0..sources.len()).filter(|at| sources[*at] != unknown).collect();
    for at in &named[..2] {
        fs::create_dir_all(copies[*at].parent().expect("a folder")).expect("a folder");
        fs::copy(&sources[*at], &copies[*at]).expect("a copy");
    }
    fs::write(&copies[named[1]], "x").expect("a damaged copy");
    let (code, said) = site.run(&["copy-storage", &from, &to]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("files that were there                    1"), "{said}");
    assert!(said.contains("files copied                             5"), "{said}");
    for (source, copy) in sources.iter().zip(&copies) {
        assert_eq!(fs::read(source).expect("a file"), fs::read(copy).expect("its copy"));
    }
    assert_eq!(files(&media), copies);

    fs::remove_file(media.join("originals/ab").join(unknown.file_name().expect("a name")))
        .expect("somebody looked at it");
    expect_whole(|args| Pictier::new(new.path()).on(&site.database).args(args));
    let (code, said) = site.run(&["cleanup"]);
    assert!(code == Some(1) && said.contains("is a copy"), "nothing is deleted here now: {said}");
}

#[tokio::test]
async fn a_storage_in_use_or_of_another_installation_is_refused() {
    let (site, other) = (Site::used().await, Site::used().await);
    let new = tempfile::tempdir().expect("a folder");
    let refused = |from: &Path, to: &Path, text: &str| {
        let (code, said) = site.run(&["copy-storage", &disk(from), &disk(to)]);
        assert!(code == Some(1) && said.contains(text), "{text}: {said}");
        assert!(!new.path().join("media/pictier.json").exists());
    };
    refused(other.data(), new.path(), "belongs to the installation");
    refused(site.data(), other.data(), "belongs to another installation");
    refused(site.data(), site.data(), "Both storages");
    refused(new.path(), site.data(), "has no pictier.json");
    let mut api = site.pictier(&["api"]).start();
    api.origin().await;
    refused(site.data(), new.path(), "Stop all processes of Pictier");
    assert!(api.stop().await.success());
    let (code, said) = site.run(&["copy-storage", "data", "s3:"]);
    assert!(code == Some(2) && said.contains("disk:DATA_DIR or s3:BUCKET"), "{said}");
}

#[tokio::test]
async fn a_file_that_is_missing_is_reported_and_the_others_are_copied() {
    let site = Site::used().await;
    let new = tempfile::tempdir().expect("a folder");
    fs::remove_file(&site.files()[0]).expect("no file");
    let (code, said) = site.run(&["copy-storage", &disk(site.data()), &disk(new.path())]);
    assert!(
        code == Some(1) && said.contains("files missing                            1"),
        "{said}"
    );
    assert_eq!(files(&new.path().join("media")).len(), 4);
}

#[tokio::test]
async fn files_move_to_a_bucket_and_back() {
    let server = S3Server::start().await.expect("SeaweedFS, which bin/chaos-tools installs");
    create_bucket(server.address, "pictier").await;
    let site = Site::used().await;
    // larger than a part of an upload in parts
    let mut everything = site.pictier(&[]).start();
    let large =
        log_in(&mut everything).await.uploaded("b.png", pictures::noise_png(1500, 1500)).await;
    assert!(everything.stop().await.success());
    let over_s3 = |args: &[&str]| {
        let process =
            site.pictier(args).env("S3_ALLOW_HTTP", "true").env("AWS_REGION", "us-east-1");
        process
            .env("AWS_ENDPOINT", format!("http://{}", server.address))
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
    };
    let on_s3 = |args: &[&str]| over_s3(args).env("S3_BUCKET", "pictier");
    let copy = |from: &str, to: &str| ended(over_s3(&["copy-storage", from, to]));
    let (code, said) = copy(&disk(site.data()), "s3:pictier");
    assert!(
        code == Some(0) && said.contains("files copied                             6"),
        "{said}"
    );
    expect_whole(on_s3);
    let mut api = on_s3(&["api"]).start();
    let admin = log_in(&mut api).await;
    let path = reqwest::Url::parse(large.original()).expect("a URL").path().to_owned();
    let body = admin.get(&path).await.expect(StatusCode::OK).body;
    assert!(body == pictures::noise_png(1500, 1500));
    assert!(api.stop().await.success());

    let new = tempfile::tempdir().expect("a folder");
    let (code, said) = copy("s3:pictier", &disk(new.path()));
    assert!(
        code == Some(0) && said.contains("files copied                             6"),
        "{said}"
    );
    expect_whole(|args| Pictier::new(new.path()).on(&site.database).args(args));
}

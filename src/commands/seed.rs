//! `pictier seed`: sample data for whoever develops pages.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides have a few thousand px, and colours are cut to their range"
)]

use std::{f32::consts::TAU, io::Cursor};

use anyhow::Context;
use bytes::Bytes;
use image::{ImageFormat, Rgb, RgbImage, codecs::jpeg::JpegEncoder};
use pictier::Config;
use shared::{
    db,
    domain::{
        Actor, ImageId, LinkTarget, Password, ThumbnailState, Title, User, Username, ValidFor,
    },
    services::{
        Services, links, thumbnails, uploads,
        users::{self, Account},
    },
};

use super::services;
use crate::database::{Database, Schema};

const PASSWORD: &str = "pictier-seed";
/// Users and their tiers.
const USERS: [(&str, &str); 3] =
    [("basic", "Basic"), ("premium", "Premium"), ("enterprise", "Enterprise")];
/// Sides of the pictures in px.
const SIZES: [(u32, u32); 4] = [(640, 480), (480, 640), (1600, 1067), (960, 300)];
const SCENES: u32 = 5;
const QUALITY: u8 = 85;
/// Seconds after which the sample links expire.
const LINK_SECONDS: [i64; 3] = [300, 3600, 30_000];
const PLACES: [&str; 6] = ["Rome", "Kraków", "Lisbon", "Oslo", "Bergen", "Naples"];
const SUBJECTS: [&str; 5] = ["Sunset", "Harbour", "Market", "Mountain", "Garden"];

/// Creates a user of each built-in tier with their share of `photos` images, expiring links, and a
/// thumbnail that cannot be made.
pub(crate) async fn seed(config: &Config, database: &Database, photos: u32) -> anyhow::Result<()> {
    database.prepare(config, Schema::Prepare).await?;
    let services = services(config, database).await?;
    // the damaged one is the second, a JPEG
    let files = pictures(photos.max(2) as usize)?;
    let mut accounts = Vec::new();
    for (name, tier) in USERS {
        accounts.push(create_user(&services, name, tier).await?);
    }
    for number in 0..photos {
        let user = &accounts[number as usize % accounts.len()];
        let file = files[number as usize % files.len()].clone();
        upload(&services, user, file, &title(number)).await?;
    }
    let [_, _, enterprise] = accounts.as_slice() else { unreachable!("one for each tier") };
    let shown = upload(&services, enterprise, files[0].clone(), "Shown by links").await?;
    for seconds in LINK_SECONDS {
        let valid_for = ValidFor::try_from(seconds)?;
        links::create(&services, enterprise, shown, LinkTarget::Original, valid_for, None).await?;
    }
    let damaged = upload(&services, enterprise, without_quantization(&files[1]), "Damaged").await?;
    request_thumbnails(&services, enterprise, damaged).await?;
    println!("Created {} images of the users basic, premium and enterprise.", photos + 2);
    println!("Their password is {PASSWORD}.");
    Ok(())
}

async fn create_user(services: &Services, name: &str, tier: &str) -> anyhow::Result<User> {
    let mut connection = services.connection().await?;
    let tier = db::tiers::by_name(&mut connection, tier)
        .await?
        .with_context(|| format!("There is no tier {tier:?}."))?;
    let username: Username = name.parse()?;
    let account =
        Account { username: username.clone(), tier: tier.id, is_admin: false, is_active: true };
    let password = Password::chosen(PASSWORD.to_owned())?;
    let id = users::create(services, Actor::CommandLine, &account, password).await?;
    Ok(User { id, username, tier, is_admin: false, used_bytes: 0, password_is_default: false })
}

async fn upload(
    services: &Services,
    user: &User,
    file: Bytes,
    title: &str,
) -> anyhow::Result<ImageId> {
    let mut spooled = services.storage.spool()?;
    spooled.write(&file).await?;
    spooled.finish().await?;
    let title = Title::try_from(title.to_owned())?;
    Ok(uploads::store(services, user, spooled, &title, None).await?.image.id)
}

async fn request_thumbnails(
    services: &Services,
    user: &User,
    image: ImageId,
) -> anyhow::Result<()> {
    for height in user.tier.spec.thumbnail_heights.iter() {
        let (_, thumbnail) = thumbnails::find(services, user, image, height).await?;
        let state = thumbnails::request(services, thumbnail.id).await?;
        debug_assert_eq!(state, ThumbnailState::Pending);
    }
    Ok(())
}

fn title(number: u32) -> String {
    let (subject, place) = (number as usize % SUBJECTS.len(), number as usize % PLACES.len());
    format!("{} in {} {}", SUBJECTS[subject], PLACES[place], number + 1)
}

/// At most `count` different pictures: a PNG, and JPEGs of each scene in each size.
fn pictures(count: usize) -> anyhow::Result<Vec<Bytes>> {
    let mut png = Cursor::new(Vec::new());
    landscape(0, 640, 480).write_to(&mut png, ImageFormat::Png)?;
    let mut files = vec![png.into_inner().into()];
    let scenes_and_sizes = (0..SCENES).flat_map(|scene| SIZES.map(|size| (scene, size)));
    for (scene, (width, height)) in scenes_and_sizes.take(count.saturating_sub(1)) {
        let mut jpeg = Vec::new();
        let picture = landscape(scene, width, height);
        picture.write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, QUALITY))?;
        files.push(jpeg.into());
    }
    Ok(files)
}

/// A sky with a sun, above hills.
fn landscape(scene: u32, width: u32, height: u32) -> RgbImage {
    let hue = scene as f32 / SCENES as f32;
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
        let ridge = |waves: f32, level: f32| level + 0.08 * (TAU * (x * waves + hue)).sin();
        let sun = ((x - 0.2 - 0.6 * hue).powi(2) + (y - 0.25).powi(2)).sqrt();
        let (near, far) = (y > ridge(1.3, 0.75), y > ridge(2.1, 0.6));
        let shade = match (near, far, sun < 0.08) {
            (true, ..) => [0.15, 0.3 + 0.2 * hue, 0.2],
            (_, true, _) => [0.3, 0.45, 0.5 - 0.2 * hue],
            (.., true) => [1.0, 0.9, 0.6],
            _ => [0.4 + 0.5 * y + 0.1 * hue, 0.5 + 0.2 * y, 0.9 - 0.6 * y * hue],
        };
        Rgb(shade.map(|level: f32| (level.clamp(0.0, 1.0) * 255.0) as u8))
    })
}

/// The JPEG without its quantization tables (T.81 section B.2.4.1): it can be stored, and no
/// thumbnail of it can be made.
fn without_quantization(jpeg: &[u8]) -> Bytes {
    let mut rest = jpeg;
    let mut kept = Vec::with_capacity(jpeg.len());
    while let Some(at) = rest.windows(2).position(|marker| marker == [0xFF, 0xDB]) {
        let length = usize::from(u16::from_be_bytes([rest[at + 2], rest[at + 3]]));
        kept.extend_from_slice(&rest[..at]);
        rest = &rest[at + 2 + length..];
    }
    kept.extend_from_slice(rest);
    kept.into()
}

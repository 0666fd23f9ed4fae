//! The story: everything that the contract says, in one order of calls. Each step's name stands in
//! the table of differences.

use reqwest::{
    RequestBuilder,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

use super::server::{Person, Server};
use crate::harness::{Answer, pictures};

/// More images than one page of our list has.
const MANY: usize = 52;

/// Somebody with images, and their links.
struct Album {
    owner: Person,
    png: Value,
    jpeg: Value,
}

pub(super) async fn tell(server: &mut Server) {
    without_login(server).await;
    let ann = server.log_in("ann").await;
    let album = uploads(server, ann).await;
    lists_and_details(server, &album).await;
    originals_and_thumbnails(server, &album).await;
    making_links(server, &album).await;
    bad_links(server, &album).await;
    expiry(server, &album).await;
    strangers(server, &album).await;
    tiers(server).await;
    forms_and_formats(server, &album).await;
    bad_uploads(server, &album).await;
    long_lists(server).await;
}

fn with_file(request: RequestBuilder, name: &str, bytes: Vec<u8>) -> RequestBuilder {
    request.multipart(Form::new().part("file", Part::bytes(bytes).file_name(name.to_owned())))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

async fn without_login(server: &mut Server) {
    let nobody = server.nobody();
    server.ask("not logged in: list", nobody.get("/api/images")).await;
    server.ask("not logged in: image", nobody.get("/api/images/1")).await;
    let upload = with_file(nobody.post("/api/images"), "a.png", pictures::png(10, 10));
    server.ask("not logged in: upload", upload).await;
    server.ask("not logged in: links", nobody.get("/api/images/1/expiring_links")).await;
    let link = nobody.post("/api/images/1/expiring_links").json(&json!({"valid_for": 300}));
    server.ask("not logged in: new link", link).await;
}

async fn uploads(server: &mut Server, owner: Person) -> Album {
    server.ask("list of no images", owner.get("/api/images")).await;
    let png = with_file(owner.post("/api/images"), "IMG_2034.edited.png", pictures::png(100, 80));
    let png = server.ask("upload of a PNG", png).await.json();
    let jpeg =
        with_file(owner.post("/api/images"), "Holiday in Rome.jpg", pictures::jpeg(800, 600));
    let jpeg = server.ask("upload of a JPEG", jpeg).await.json();
    let other = with_file(owner.post("/api/images/"), "Ümläut.jpeg", pictures::jpeg(20, 20));
    server.ask("upload of a .jpeg, with a slash", other).await;
    Album { owner, png, jpeg }
}

async fn lists_and_details(server: &mut Server, Album { owner, jpeg, .. }: &Album) {
    server.ask("list", owner.get("/api/images")).await;
    server.ask("list, with a slash", owner.get("/api/images/")).await;
    server.ask("image", owner.get(&format!("/api/images/{}", jpeg["pk"]))).await;
    server.ask("image, with a slash", owner.get(&format!("/api/images/{}/", jpeg["pk"]))).await;
    server.ask("image that nobody has", owner.get("/api/images/999999")).await;
}

async fn originals_and_thumbnails(server: &mut Server, Album { png, jpeg, .. }: &Album) {
    let nobody = server.nobody();
    server.ask("original of a PNG", nobody.get(text(png, "/file_urls/original"))).await;
    server.ask("original of a JPEG", nobody.get(text(jpeg, "/file_urls/original"))).await;
    let url = text(jpeg, "/file_urls/200 px high");
    server.ask("thumbnail, first request", nobody.get(url)).await;
    server.ask("thumbnail, waited for", nobody.get(url).header("prefer", "wait=30")).await;
    server.ask("thumbnail, ready", nobody.get(url)).await;
    let url = text(png, "/file_urls/200 px high");
    let small = nobody.get(url).header("prefer", "wait=30");
    server.ask("thumbnail of a picture that is smaller", small).await;
    for folder in ["original", "resized"] {
        let url = format!("/user_content/{folder}/x-00000000-0000-4000-8000-000000000000.png");
        server.ask(&format!("{folder} file that is not there"), nobody.get(&url)).await;
    }
}

async fn making_links(server: &mut Server, Album { owner, jpeg, .. }: &Album) {
    let url = text(jpeg, "/expiring_link_generator");
    server.ask("list of no links", owner.get(url)).await;
    let link = owner.post(url).json(&json!({"valid_for": 300}));
    let link = server.ask("new link, as JSON", link).await.json();
    server.ask("link", server.nobody().get(text(&link, "/link"))).await;
    let body =
        owner.post(url).header("content-type", "application/json").body("{\"valid_for\": 30000.0}");
    server.ask("new link, as JSON with a decimal point", body).await;
    server
        .ask("new link, as JSON with text", owner.post(url).json(&json!({"valid_for": "301"})))
        .await;
    let fields = [("valid_for", "302"), ("csrfmiddlewaretoken", owner.token())];
    server.ask("new link, as a form", owner.post(url).form(&fields)).await;
    let form = Form::new().text("valid_for", "303");
    server.ask("new link, as a multipart form", owner.post(url).multipart(form)).await;
    server.ask("list of links", owner.get(url)).await;
    server.ask("list of links, with a slash", owner.get(&format!("{url}/"))).await;
}

async fn bad_links(server: &mut Server, Album { owner, jpeg, .. }: &Album) {
    let url = text(jpeg, "/expiring_link_generator");
    let durations = [
        json!(299),
        json!(30001),
        json!(-1),
        json!(300.5),
        json!("soon"),
        json!(null),
        json!([300]),
    ];
    for valid_for in durations {
        let link = owner.post(url).json(&json!({"valid_for": valid_for}));
        server.ask(&format!("bad link: {valid_for}"), link).await;
    }
    for valid_for in ["", "299", "five minutes"] {
        let link = owner.post(url).form(&[("valid_for", valid_for)]);
        server.ask(&format!("bad link, as a form: {valid_for:?}"), link).await;
    }
    server.ask("bad link: no duration", owner.post(url).json(&json!({}))).await;
    server.ask("bad link: a list", owner.post(url).json(&json!([]))).await;
    let broken =
        owner.post(url).header("content-type", "application/json").body("{valid_for: 300}");
    server.ask("bad link: broken JSON", broken).await;
    let plain = owner.post(url).header("content-type", "text/plain").body("300");
    server.ask("bad link: plain text", plain).await;
    let unknown = owner.post("/api/images/999999/expiring_links").json(&json!({"valid_for": 300}));
    server.ask("new link to an image that nobody has", unknown).await;
    server.ask("link that nobody made", server.nobody().get(&unknown_link())).await;
}

fn unknown_link() -> String {
    "/user_content/expiring/00000000-0000-4000-8000-000000000000/".to_owned()
}

async fn expiry(server: &mut Server, Album { owner, png, .. }: &Album) {
    let url = text(png, "/expiring_link_generator");
    let short = owner.post(url).json(&json!({"valid_for": 300}));
    let short = server.ask("new link that lives 5 minutes", short).await.json();
    let long = owner.post(url).json(&json!({"valid_for": 3600}));
    let long = server.ask("new link that lives an hour", long).await.json();
    server.age_links(301);
    let nobody = server.nobody();
    server.ask("link that has expired", nobody.get(text(&short, "/link"))).await;
    server.ask("link that has not expired", nobody.get(text(&long, "/link"))).await;
    server.ask("list of links after one has expired", owner.get(url)).await;
}

/// Another account, which may make links as well.
async fn strangers(server: &mut Server, Album { jpeg, .. }: &Album) {
    let bob = server.log_in("bob").await;
    server.ask("another user's list", bob.get("/api/images")).await;
    server.ask("another user's image", bob.get(&format!("/api/images/{}", jpeg["pk"]))).await;
    let links = text(jpeg, "/expiring_link_generator");
    server.ask("another user's links", bob.get(links)).await;
    let link = bob.post(links).json(&json!({"valid_for": 300}));
    server.ask("new link to another user's image", link).await;
}

async fn tiers(server: &mut Server) {
    for (name, tier) in [("cleo", "Basic"), ("dora", "Premium")] {
        let person = server.log_in(name).await;
        let upload = with_file(person.post("/api/images"), "a.png", pictures::png(300, 300));
        let image = server.ask(&format!("{tier}: upload"), upload).await.json();
        let links = format!("/api/images/{}/expiring_links", image["pk"]);
        server.ask(&format!("{tier}: links"), person.get(&links)).await;
        let link = person.post(&links).json(&json!({"valid_for": 300}));
        server.ask(&format!("{tier}: new link"), link).await;
    }
    let dora = server.log_in("dora").await;
    let image = &server.ask("Premium: list", dora.get("/api/images")).await.json()[0];
    server.set_tier("dora", "Basic").await;
    let smaller = format!("/api/images/{}", image["pk"]);
    server.ask("smaller tier: image", dora.get(&smaller)).await;
    for name in ["original", "400 px high"] {
        let url = text(&image["file_urls"], &format!("/{name}"));
        server.ask(&format!("smaller tier: {name}"), server.nobody().get(url)).await;
    }
}

async fn forms_and_formats(server: &mut Server, Album { owner, png, .. }: &Album) {
    server.ask("list as ?format=json", owner.get("/api/images?format=json")).await;
    server.ask("list with an unknown parameter", owner.get("/api/images?page=1")).await;
    server.ask("list as a page", owner.browse("/api/images")).await;
    let links = text(png, "/expiring_link_generator");
    let without = owner.post_without_token(links).json(&json!({"valid_for": 300}));
    server.ask("new link without a token", without).await;
    let misspelt = owner.post(links).json(&json!({"valid_for": 300, "heigth": 200}));
    server.ask("new link with an unknown key", misspelt).await;
}

async fn bad_uploads(server: &mut Server, Album { owner, .. }: &Album) {
    let url = "/api/images";
    let no_file = owner.post(url).multipart(Form::new().text("title", "Rome"));
    server.ask("bad upload: no file", no_file).await;
    server.ask("bad upload: as JSON", owner.post(url).json(&json!({"file": "a.png"}))).await;
    server.ask("bad upload: as a form", owner.post(url).form(&[("file", "a.png")])).await;
    for (step, name, bytes) in [
        ("bad upload: an empty file", "a.png", Vec::new()),
        ("bad upload: a text", "notes.txt", b"file content".to_vec()),
        ("bad upload: a text named as an image", "x.png", b"file content".to_vec()),
        ("bad upload: half of a picture", "half.png", pictures::png(100, 100)[..60].to_vec()),
        ("upload of a picture without an extension", "picture", pictures::png(10, 10)),
    ] {
        server.ask(step, with_file(owner.post(url), name, bytes)).await;
    }
}

/// A list that is longer than a page: only its length and its way on are compared.
async fn long_lists(server: &mut Server) {
    let cleo = server.log_in("cleo").await;
    for _ in 1..MANY {
        let upload = with_file(cleo.post("/api/images"), "dot.png", pictures::png(1, 1));
        let answer: Answer = crate::harness::send(upload).await;
        assert!(answer.status.is_success(), "{}", answer.html());
    }
    server.ask_for_length("list of many images", cleo.get("/api/images")).await;
}

//! The pages in a real browser; and what the harness for that finds out about bad ones. Without
//! Chromium each of these tests ends at once.

mod accessibility;
mod accounts;
mod admin_images;
mod admin_jobs;
mod admin_tiers;
mod admin_users;
mod images;
mod keyboard;
mod links;
mod names;
mod thumbnails;
mod uploads;
mod without_scripts;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::harness::{Browser, TestApp, pictures};

/// As strict as a policy can be.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A small site: the page that a test gives it, its script, and a picture. Its address.
async fn site(body: &'static str, script: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // a browser opens connections that it does not use yet
            tokio::spawn(answer(stream, body, script));
        }
    });
    origin
}

async fn answer(mut stream: TcpStream, body: &'static str, script: &'static str) {
    let mut request = vec![0; 16 * 1024];
    let length = stream.read(&mut request).await.unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let path = request.split([' ', '?']).nth(1).unwrap_or_default();
    let page = format!(
        "<!doctype html><html lang=en><title>A page</title><link rel=icon href=data:,>
        <link rel=stylesheet href=/style.css><script src=/script.js defer></script><main>{body}</main>"
    );
    let (status, kind, content) = match path {
        "/" => ("200 OK", "text/html; charset=utf-8", page.into_bytes()),
        "/script.js" => ("200 OK", "text/javascript", script.into()),
        "/style.css" => ("200 OK", "text/css", STYLE.into()),
        "/picture.png" => ("200 OK", "image/png", pictures::png(30, 20)),
        _ => ("404 Not Found", "text/plain", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nContent-Security-Policy: {POLICY}\r\n\
        Connection: close\r\n\r\n",
        content.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), &content].concat()).await;
    let _ = stream.shutdown().await;
}

const STYLE: &str = "
    .pale { color: #ccc; background: #fff }
    a { display: inline-block; line-height: 2 }
    .hidden { display: none }
    .long { height: 3000px }
    @media (prefers-color-scheme: dark) { .light { display: none } }
    @media (max-width: 400px) { .wide { display: none } }";

#[tokio::test]
async fn the_description_of_the_api_opens() {
    let app = TestApp::start().await;
    let visitor = Browser::start(&app.origin).await;
    visitor.open("/api/docs/").await;
    visitor.wait_for_text("Pictier").await;
    visitor.wait_for(".opblock").await;
    visitor.close().await;
}

#[tokio::test]
async fn a_page_is_used_by_its_words() {
    let form = "<form>
        <label>Title <input name=title value=old></label>
        <label for=height>Height</label>
        <select id=height name=height><option value=200>200 px</option><option value=400>400 px</option></select>
        <label for=files>Pictures</label><input id=files type=file class=hidden multiple>
        <button class=hidden>Keep</button><button>  Keep </button>
        </form><a href='/?seen'>What was <b>kept</b></a><p id=chosen></p>";
    let script = "
        document.querySelector('#files').addEventListener('change', event => setTimeout(() => {
            chosen.textContent = [...event.target.files].map(file => file.name).join(' and ');
        }, 200))";
    let origin = site(form, script).await;
    let visitor = Browser::start(&origin).await;
    visitor.open("/").await;
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["a.png", "b.png"].map(|name| folder.path().join(name));
    for file in &files {
        fs::write(file, pictures::png(4, 3)).expect("a file");
    }
    visitor.choose_file("#files", &files).await;
    visitor.wait_for_text("a.png and b.png").await;
    assert_eq!(visitor.text("#chosen").await, "a.png and b.png");

    visitor.fill("Title", "Rome, at night").await;
    visitor.select("Height", "400 px").await;
    visitor.click_text("Keep").await;
    visitor.wait_for_path("/?title=Rome%2C+at+night&height=400").await;
    visitor.fill("Title", "").await;
    visitor.click("button:last-of-type").await;
    visitor.wait_for_path("/?title=&height=200").await;
    visitor.click_text("What was kept").await;
    visitor.wait_for_path("/?seen").await;
    assert_eq!(visitor.path().await, "/?seen");
    visitor.expect_accessible().await;
    visitor.close().await;
}

#[tokio::test]
async fn what_a_page_holds_is_told() {
    let pictures =
        "<img id=good src=/picture.png alt='Red to blue'><p class=gone>soon gone</p><p>stays</p>";
    let origin =
        site(pictures, "setTimeout(() => document.querySelector('.gone').remove(), 200)").await;
    let visitor = Browser::start(&origin).await;
    visitor.open("/").await;
    visitor.wait_until_loaded("img").await;
    assert!(visitor.is_loaded("#good").await);
    assert!(!visitor.is_loaded("#bad").await);
    visitor.wait_until_gone(".gone").await;
    assert_eq!(visitor.count("p").await, 1);
    assert_eq!(visitor.attribute("img", "alt").await.as_deref(), Some("Red to blue"));
    assert_eq!(visitor.attribute("img", "title").await, None);
    assert_eq!(visitor.execute("return document.title").await, "A page");
    visitor.close().await;
}

#[tokio::test]
async fn a_page_is_seen_small_dark_and_without_scripts() {
    let body = "<p class=light>light</p><p class=wide>wide</p><noscript>no scripts</noscript>
        <p id=written></p><div class=long></div>";
    let origin = site(body, "written.textContent = 'by a script'").await;
    let visitor = Browser::start(&origin).await;
    visitor.open("/").await;
    assert_eq!(visitor.text("#written").await, "by a script");
    visitor.wait_for(".wide").await;
    visitor.resize(360, 640).await;
    visitor.wait_until_gone(".wide").await;
    visitor.emulate_dark().await;
    visitor.wait_until_gone(".light").await;
    let picture = fs::read(visitor.screenshot("a-long-page").await).expect("a screenshot");
    let (width, height) = pictures::size(&picture);
    assert!(width == 360 && height > 3000, "{width} x {height}");

    visitor.disable_javascript().await;
    visitor.open("/").await;
    visitor.wait_for_text("no scripts").await;
    assert_eq!(visitor.execute("return written.textContent").await, "");
    assert_eq!(visitor.count(".light").await, 1);
    visitor.wait_until_gone(".light").await;
    visitor.close().await;
}

#[tokio::test]
async fn two_visitors_are_strangers() {
    let origin = site("<p>hello</p>", "").await;
    let ada = Browser::start(&origin).await;
    let eve = Browser::start(&origin).await;
    ada.open("/").await;
    ada.execute("localStorage.setItem('name', 'ada'); document.cookie = 'name=ada'").await;
    eve.open("/").await;
    let known = "return document.cookie + localStorage.getItem('name')";
    assert_eq!(ada.execute(known).await, "name=adaada");
    assert_eq!(eve.execute(known).await, "null");
    ada.close().await;
    eve.close().await;
}

#[tokio::test]
async fn a_script_against_the_policy_is_found_out() {
    let origin =
        site("<p style='color: red' onclick='alert(1)'>hello</p><script>alert(1)</script>", "")
            .await;
    let visitor = Browser::start(&origin).await;
    visitor.open("/").await;
    let found = visitor.console_entries().await;
    for directive in ["script-src", "style-src"] {
        assert!(
            found.iter().any(|entry| entry.contains("Policy") && entry.contains(directive)),
            "{found:#?}"
        );
    }
    visitor.expect_log("Content Security Policy");
    visitor.close().await;
}

#[tokio::test]
async fn what_goes_wrong_in_a_script_is_found_out() {
    let script = "
        console.log('nothing wrong');
        console.warn('first');
        console.error('second');
        fetch('/nowhere');
        Promise.reject(new Error('third'));
        throw new Error('fourth')";
    let origin = site("<p>hello</p>", script).await;
    let visitor = Browser::start(&origin).await;
    visitor.open("/").await;
    visitor.execute("return fetch('/nowhere').then(() => null)").await;
    let found = visitor.console_entries().await;
    assert!(!found.iter().any(|entry| entry.contains("nothing wrong")), "{found:#?}");
    for part in ["first", "second", "third", "fourth", "the server responded with a status of 404"]
    {
        assert!(found.iter().any(|entry| entry.contains(part)), "{part} is not in {found:#?}");
        visitor.expect_log(part);
    }
    visitor.close().await;
}

#[tokio::test]
async fn a_page_that_some_cannot_use_is_found_out() {
    let origin =
        site("<h1>Hello</h1><img src=/picture.png><p class=pale>hard to read</p>", "").await;
    let visitor = Browser::start(&origin).await;
    visitor.open("/").await;
    let found = visitor.axe_violations().await;
    for rule in ["image-alt: ", "color-contrast: "] {
        assert!(found.iter().any(|violation| violation.starts_with(rule)), "{found:#?}");
    }
    assert_eq!(found.len(), 2, "{found:#?}");
    visitor.close().await;
}

#[tokio::test]
async fn a_browser_that_is_not_closed_fails_the_test() {
    let origin = site("<p>hello</p>", "").await;
    let visitor = Browser::start(&origin).await;
    assert!(catch_unwind(AssertUnwindSafe(|| drop(visitor))).is_err());
}

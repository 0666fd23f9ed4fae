//! Somebody at a browser: headless Chromium with a profile of its own. What a test asks for it
//! waits for, and what the console says fails the test unless the test said that it would.

mod visits;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{
    ChromeCapabilities, ChromiumLikeCapabilities, LoggingPrefsLogLevel, WebDriver, WebElement,
    error::{WebDriverError, WebDriverResult},
};
use tokio::sync::SemaphorePermit;

use super::chromedriver::{CHROMIUM, Chromedriver, turn};

/// How long a page may take for what a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the scripts below share. A label's text is without that of the field inside it.
const WORDS: &str = "
    const words = text => (text ?? '').replace(/\\s+/g, ' ').trim();
    const shown = element => element.checkVisibility({ checkVisibilityCSS: true });
    const all = css => [...document.querySelectorAll(css)];
    const labelText = label => {
        const copy = label.cloneNode(true);
        copy.querySelectorAll('input, select, textarea').forEach(field => field.remove());
        return words(copy.textContent);
    };
    const says = (element, text) =>
        [element.innerText, element.value, element.ariaLabel].some(said => words(said) === words(text));";
const FIRST: &str = "return all(arguments[0])[0]";
const FIRST_SHOWN: &str = "return all(arguments[0]).find(shown)";
const NAMED: &str = "
    const clickable = all('a, button, summary, [role=button], input[type=submit]');
    return clickable.find(element => shown(element) && says(element, arguments[0]))";
const LABELLED: &str = "
    const labels = all('label').filter(label => shown(label) && label.control);
    return labels.find(label => labelText(label) === words(arguments[0]))?.control";
const OPTION: &str = "
    const selects = all('label').filter(label => shown(label) && labelText(label) === words(arguments[0]));
    return [...selects[0]?.control?.options ?? []].find(option => words(option.text) === words(arguments[1]))";

static AXE: LazyLock<String> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".vendor/axe.min.js");
    fs::read_to_string(path).expect("axe-core, which bin/browser-tools installs")
});
const RUN_AXE: &str = "
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    const found = await axe.run(document, { runOnly: tags, resultTypes: ['violations'] });
    return found.violations
        .filter(({ impact }) => ['serious', 'critical'].includes(impact))
        .flatMap(({ id, help, nodes }) => nodes.map(node =>
            `${id}: ${help}: ${node.target.join(' ')}: ${node.failureSummary}`));";

/// A visitor with a fresh profile; every test ends with [`Browser::close`].
pub(crate) struct Browser {
    origin: String,
    driver: WebDriver,
    wanted: Mutex<Vec<String>>,
    entries: Mutex<Vec<String>>,
    closed: bool,
    // in the order in which they go
    _chromedriver: Chromedriver,
    profile: TempDir,
    _turn: Arc<SemaphorePermit<'static>>,
}

impl Browser {
    /// A new visitor of this service.
    pub(crate) async fn start(origin: &str) -> Self {
        let turn = turn().await;
        let profile = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let chromedriver = Chromedriver::start();
        let capabilities = capabilities(&CHROMIUM, profile.path()).expect("capabilities");
        // reqwest leaves the choice of the TLS provider to the process
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let driver = WebDriver::builder(chromedriver.url(), capabilities).client(http).await;
        Self {
            origin: origin.to_owned(),
            driver: driver.expect("a session"),
            wanted: Mutex::default(),
            entries: Mutex::default(),
            closed: false,
            _chromedriver: chromedriver,
            profile,
            _turn: turn,
        }
    }

    /// Ends the visit; the console has to be clean.
    pub(crate) async fn close(mut self) {
        self.expect_clean_console().await;
        self.closed = true;
    }

    /// Opens a path of the service and waits until it is loaded.
    pub(crate) async fn open(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.origin)).await.expect("a page");
    }

    /// The path of the page, with its query.
    pub(crate) async fn path(&self) -> String {
        let url = self.driver.current_url().await.expect("a URL");
        url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
    }

    /// Waits until the page has this path, with its query.
    pub(crate) async fn wait_for_path(&self, path: &str) {
        let there = "return location.pathname + location.search === arguments[0]";
        self.wait_until(&format!("the path {path}"), there, path).await;
    }

    /// Clicks what this selector finds first.
    pub(crate) async fn click(&self, css: &str) {
        self.with(FIRST_SHOWN, &[css], async |element| element.click().await).await;
    }

    /// Clicks the link or the button with this text.
    pub(crate) async fn click_text(&self, text: &str) {
        self.with(NAMED, &[text], async |element| element.click().await).await;
    }

    /// Types a text into the field with this label, in place of what is there.
    pub(crate) async fn fill(&self, label: &str, text: &str) {
        let typed = async |element: WebElement| {
            element.clear().await?;
            if text.is_empty() { Ok(()) } else { element.send_keys(text).await }
        };
        self.with(LABELLED, &[label], typed).await;
    }

    /// Chooses an option, by its text, of the field with this label.
    pub(crate) async fn select(&self, label: &str, option: &str) {
        self.with(OPTION, &[label, option], async |element| element.click().await).await;
    }

    /// Chooses files in a file input, which may be hidden behind a nicer button.
    pub(crate) async fn choose_file(&self, css: &str, files: &[PathBuf]) {
        let files: Vec<_> =
            files.iter().map(|file| file.to_str().expect("a path in UTF-8")).collect();
        self.with(FIRST, &[css], async |element| element.send_keys(files.join("\n")).await).await;
    }

    /// The visible text of what this selector finds first.
    pub(crate) async fn text(&self, css: &str) -> String {
        self.with(FIRST_SHOWN, &[css], async |element| element.text().await).await
    }

    /// An attribute of what this selector finds first, visible or not.
    pub(crate) async fn attribute(&self, css: &str, name: &str) -> Option<String> {
        self.with(FIRST, &[css], async |element| element.attr(name).await).await
    }

    /// How many elements there are now, visible or not.
    pub(crate) async fn count(&self, css: &str) -> usize {
        let found = self.run("return all(arguments[0]).length", &[css]).await.expect("a selector");
        found.as_u64().and_then(|count| count.try_into().ok()).expect("a count")
    }

    /// Whether the picture has all its bytes now and they are a picture.
    pub(crate) async fn is_loaded(&self, css: &str) -> bool {
        let loaded = "const image = all(arguments[0])[0]; return !!image?.complete && image.naturalWidth > 0";
        self.run(loaded, &[css]).await.expect("a selector") == true
    }

    /// Waits until such an element is visible.
    pub(crate) async fn wait_for(&self, css: &str) {
        self.with(FIRST_SHOWN, &[css], async |_| Ok(())).await;
    }

    /// Waits until no such element is visible.
    pub(crate) async fn wait_until_gone(&self, css: &str) {
        self.wait_until(&format!("no {css}"), "return !all(arguments[0]).some(shown)", css).await;
    }

    /// Waits until the page shows this text.
    pub(crate) async fn wait_for_text(&self, text: &str) {
        let there = "return words(document.body.innerText).includes(words(arguments[0]))";
        self.wait_until(&format!("{text:?}"), there, text).await;
    }

    /// Waits until every such picture is loaded, and there is at least one.
    pub(crate) async fn wait_until_loaded(&self, css: &str) {
        let loaded = "const images = all(arguments[0]);
            return images.length > 0 && images.every(image => image.complete && image.naturalWidth > 0)";
        self.wait_until(&format!("{css} with all its pixels"), loaded, css).await;
    }

    /// Runs a script, which may `return` something.
    pub(crate) async fn execute(&self, js: &str) -> Value {
        self.run(js, &[]).await.expect("a script that works")
    }

    /// Gives the page this many px, also fewer than a window can have.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Prefers dark colours from now on.
    pub(crate) async fn emulate_dark(&self) {
        self.prefer("dark").await;
    }

    /// Prefers light colours from now on.
    pub(crate) async fn emulate_light(&self) {
        self.prefer("light").await;
    }

    async fn prefer(&self, scheme: &str) {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.cdp("Emulation.setEmulatedMedia", media).await;
    }

    /// Opens pages without their scripts from now on; those of the tests go on working.
    pub(crate) async fn disable_javascript(&self) {
        self.cdp("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    }

    /// Keeps a picture of the whole page in `target/screenshots/`.
    pub(crate) async fn screenshot(&self, name: &str) -> PathBuf {
        let metrics = self.cdp("Page.getLayoutMetrics", json!({})).await;
        let mut clip = metrics["cssContentSize"].clone();
        clip["scale"] = json!(1);
        let how = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let taken = self.cdp("Page.captureScreenshot", how).await;
        let png =
            BASE64_STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(format!("{name}.png"));
        fs::write(&file, png).expect("a file");
        file
    }

    /// Says that console entries with this text are wanted.
    pub(crate) fn expect_log(&self, part: &str) {
        self.wanted.lock().expect("texts").push(part.to_owned());
    }

    /// Warnings and errors on the console so far that nobody wanted; refusals of the page's policy
    /// are among them.
    pub(crate) async fn console_entries(&self) -> Vec<String> {
        let fresh = self.driver.browser_log().await.expect("the console");
        let fresh =
            fresh.into_iter().filter(|entry| ["WARNING", "SEVERE"].contains(&&*entry.level));
        let mut entries = self.entries.lock().expect("entries");
        entries.extend(fresh.map(|entry| {
            format!("{} {}: {}", entry.level, entry.source.unwrap_or_default(), entry.message)
        }));
        let wanted = self.wanted.lock().expect("texts");
        entries
            .iter()
            .filter(|entry| !wanted.iter().any(|part| entry.contains(part)))
            .cloned()
            .collect()
    }

    /// The console has no warning and no error besides the wanted ones.
    pub(crate) async fn expect_clean_console(&self) {
        let entries = self.console_entries().await;
        let path = self.path().await;
        assert!(entries.is_empty(), "the console of {path} says:\n{}", entries.join("\n"));
    }

    /// What axe-core finds serious or critical.
    pub(crate) async fn axe_violations(&self) -> Vec<String> {
        let script = format!("{}; return (async () => {{ {RUN_AXE} }})()", *AXE);
        let found = self.run(&script, &[]).await.expect("a page that axe-core can read");
        serde_json::from_value(found).expect("a list of texts")
    }

    /// Anybody can use the page as far as axe-core can tell.
    pub(crate) async fn expect_accessible(&self) {
        let found = self.axe_violations().await;
        assert!(
            found.is_empty(),
            "{} is not for everybody:\n{}",
            self.path().await,
            found.join("\n")
        );
    }

    /// Does something with the element that a script finds, as soon as both work.
    async fn with<T>(
        &self,
        finder: &str,
        arguments: &[&str],
        act: impl AsyncFn(WebElement) -> WebDriverResult<T>,
    ) -> T {
        let attempt = async || {
            let found = self.run(finder, arguments).await?;
            if found.is_null() {
                return Ok(None);
            }
            let element = WebElement::from_json(found, self.driver.handle().clone())?;
            act(element).await.map(Some)
        };
        self.until(&arguments.join(", "), attempt).await
    }

    /// Waits until a script returns `true`.
    async fn wait_until(&self, what: &str, script: &str, argument: &str) {
        let attempt = async || Ok((self.run(script, &[argument]).await? == true).then_some(()));
        self.until(what, attempt).await;
    }

    /// Tries until it works. Errors count as not yet: an element may go together with its page.
    async fn until<T>(
        &self,
        what: &str,
        attempt: impl AsyncFn() -> WebDriverResult<Option<T>>,
    ) -> T {
        let started = Instant::now();
        loop {
            let last = match attempt().await {
                Ok(Some(result)) => return result,
                Ok(None) => String::new(),
                Err(error) => format!(" ({})", without_stack(&error)),
            };
            if started.elapsed() > PATIENCE {
                let shown = self.run("return document.body.innerText", &[]).await;
                let shown =
                    shown.map_or_else(|error| without_stack(&error), |text| text.to_string());
                let (path, console) = (self.path().await, self.console_entries().await);
                panic!(
                    "waited in vain for {what}{last}; {path} shows {shown}, the console {console:?}"
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn run(&self, script: &str, arguments: &[&str]) -> WebDriverResult<Value> {
        let arguments: Vec<_> = arguments.iter().map(|argument| json!(argument)).collect();
        let answer = self.driver.execute(format!("{WORDS}\n{script}"), arguments).await?;
        Ok(answer.json().clone())
    }

    /// A command of the Chrome `DevTools` protocol.
    async fn cdp(&self, command: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(command, parameters).await.expect(command)
    }
}

/// An error on a line, without the addresses inside chromedriver.
fn without_stack(error: &WebDriverError) -> String {
    let text = error.to_string();
    let text = text.split("Stacktrace:").next().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn capabilities(chromium: &str, profile: &Path) -> WebDriverResult<ChromeCapabilities> {
    let mut capabilities = ChromeCapabilities::new();
    capabilities.set_binary(chromium)?;
    let profile = format!("--user-data-dir={}", profile.display());
    for argument in [
        "--headless=new",
        // root may run it too, and in a container with little shared memory
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1280,1000",
        "--lang=en",
        "--hide-scrollbars",
        // rather than a port, so that it ends with its driver
        "--remote-debugging-pipe",
        &profile,
    ] {
        capabilities.add_arg(argument)?;
    }
    // the usual first page is on another machine
    let empty = json!({"session": {"restore_on_startup": 4, "startup_urls": ["about:blank"]}});
    capabilities.add_experimental_option("prefs", empty)?;
    capabilities.set_browser_log_level(LoggingPrefsLogLevel::All)?;
    Ok(capabilities)
}

impl Drop for Browser {
    fn drop(&mut self) {
        // the session ends with chromedriver
        let _ = self.driver.clone().leak();
        assert!(
            self.closed || thread::panicking(),
            "the test has to close its browser, to look at the console"
        );
    }
}

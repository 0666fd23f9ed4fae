//! What visitors of this service do again and again.

use std::fs;

use super::{
    super::{PASSWORD, TestApp},
    Browser,
};

impl Browser {
    /// A new visitor who has logged in and sees their images; nobody where Chromium or its driver
    /// is not installed.
    pub(crate) async fn logged_in(app: &TestApp, username: &str) -> Self {
        let visitor = Self::start(&app.origin).await;
        visitor.open("/").await;
        visitor.log_in(username, PASSWORD).await;
        visitor.wait_for_path("/").await;
        visitor
    }

    /// Fills in the login page and sends it.
    pub(crate) async fn log_in(&self, username: &str, password: &str) {
        self.fill("Username", username).await;
        self.fill("Password", password).await;
        self.click_text("Log in").await;
    }

    /// Chooses files of these names and bytes in the gallery.
    pub(crate) async fn upload(&self, files: &[(&str, Vec<u8>)]) {
        // Chromium reads them when it sends them
        let folder = self.profile.path().join("chosen");
        fs::create_dir_all(&folder).expect("a folder");
        let write = |(name, bytes): &(&str, Vec<u8>)| {
            let path = folder.join(name);
            fs::write(&path, bytes).expect("a file");
            path
        };
        let paths: Vec<_> = files.iter().map(write).collect();
        self.choose_file("#files", &paths).await;
    }

    /// Sends forms as they are from now on: the browser itself would not send what breaks a rule
    /// that it knows.
    pub(crate) async fn skip_validation(&self) {
        self.execute("for (const form of document.forms) form.noValidate = true").await;
    }

    /// Says that the server will refuse requests of this path and query with this status: the
    /// console tells of each.
    pub(crate) fn expect_status(&self, path: &str, status: u16) {
        let told = "Failed to load resource: the server responded with a status of";
        self.expect_log(&format!("{}{path} - {told} {status} ", self.origin));
    }

    /// Remembers the page as it is loaded now, for [`Browser::expect_same_page`].
    pub(crate) async fn remember_page(&self) {
        self.execute("window.remembered = true").await;
    }

    /// The page was not loaded anew since it was remembered.
    pub(crate) async fn expect_same_page(&self) {
        assert_eq!(
            self.execute("return window.remembered").await,
            true,
            "the page was loaded anew"
        );
    }

    /// The text of the option that is chosen in a select.
    pub(crate) async fn selected(&self, css: &str) -> String {
        self.wait_for(css).await;
        let text = "return all(arguments[0])[0].selectedOptions[0].text";
        let text = self.run(text, &[css]).await.expect("a select");
        text.as_str().expect("a text").to_owned()
    }

    /// Waits until a script returns `true`.
    pub(crate) async fn wait_until_true(&self, script: &str) {
        self.wait_until(script, script, "").await;
    }

    /// Types into what has the focus.
    pub(crate) async fn press(&self, keys: impl Into<thirtyfour::TypingData>) {
        self.driver.action_chain().send_keys(keys).perform().await.expect("pressed keys");
    }

    /// Drops the files that the browser keeps, which pages show again without asking the service.
    pub(crate) async fn forget_files(&self) {
        self.cdp("Network.clearBrowserCache", serde_json::json!({})).await;
    }

    /// Lets pages use the clipboard.
    pub(crate) async fn allow_clipboard(&self) {
        let permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"];
        let allowed = serde_json::json!({"origin": self.origin, "permissions": permissions});
        self.cdp("Browser.grantPermissions", allowed).await;
    }
}

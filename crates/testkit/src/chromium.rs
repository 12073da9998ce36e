//! A real Chromium, driven over the script `tests/clients/chromium.mjs`: what the stricter browser of [`crate::browser`] cannot
//! tell, such as keyboard, colours, width, and what the browser itself refuses.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::binaries;
use crate::dialogue::Dialogue;
use crate::process::{Command, Logs};

/// What kind of window is opened.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Whether pages may run scripts.
    pub scripts: bool,
    /// Whether the person prefers dark colours.
    pub dark: bool,
    /// Of the window, in pixels.
    pub width: u32,
}

impl Window {
    /// A bright window on a desktop.
    pub const DESKTOP: Self = Self {
        scripts: true,
        dark: false,
        width: 1024,
    };
    /// A dark window, as wide as the smallest phone that WCAG 2.2 (1.4.10, "Reflow") asks for.
    pub const PHONE: Self = Self {
        scripts: true,
        dark: true,
        width: 320,
    };
}

/// What is to be seen after an action.
#[derive(Debug, Deserialize)]
pub struct Seen {
    /// The address of the page.
    pub url: Url,
    /// Its title.
    pub title: String,
    /// All text that is visible.
    pub text: String,
    /// The words of the element that the keyboard is at; none at the start of a page.
    pub focus: Option<String>,
    /// The text in the largest letters.
    pub largest: String,
    /// The colour behind it all, as `rgb(r, g, b)`.
    pub background: String,
    /// Pixels by which the page is wider than the window.
    pub overflow: i32,
    /// How many scripts the page has.
    pub scripts: usize,
    /// Where its links lead.
    pub links: Vec<String>,
    /// What the browser complained of since it was started, as on its console.
    pub problems: Vec<String>,
    /// The hosts, with ports, that were asked for anything since it was started.
    pub hosts: Vec<String>,
    /// Against which rules of accessibility the page is, after [`Chromium::audit`].
    pub violations: Vec<String>,
}

/// A running browser with an empty profile.
#[derive(Debug)]
pub struct Chromium {
    /// Where an application on the same machine listens, to which a sign-in can lead back.
    pub redirect_uri: Url,
    dialogue: Dialogue,
}

impl Chromium {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub async fn start(window: Window, logs: &Logs) -> Result<Self> {
        let settings = json!({
            "program": binaries::tool("chromium"),
            "scripts": window.scripts,
            "dark": window.dark,
            "width": window.width,
            "height": 768,
        });
        let command = Command::new("chromium", binaries::tool("node"))
            .arg(binaries::workspace().join("tests/clients/chromium.mjs"))
            .arg(settings.to_string())
            .env("GATEWAY_TOOLS", binaries::tools());
        let mut dialogue = Dialogue::start(command, logs)?;
        let ready = dialogue.expect("ready").await?;
        let port = ready.get("port").context("the port of the application")?;
        Ok(Self {
            redirect_uri: format!("http://127.0.0.1:{port}/callback").parse()?,
            dialogue,
        })
    }

    /// Types an address.
    ///
    /// # Errors
    ///
    /// If nothing answers there, as with all that follows: if the page does not allow it.
    pub async fn open(&mut self, url: &Url) -> Result<Seen> {
        self.run(json!({"do": "open", "url": url})).await
    }

    /// Presses the first button with these words, which leads to another page.
    ///
    /// # Errors
    ///
    /// See [`Self::open`].
    pub async fn click(&mut self, name: &str) -> Result<Seen> {
        self.run(json!({"do": "click", "name": name})).await
    }

    /// Fills the field with this label.
    ///
    /// # Errors
    ///
    /// See [`Self::open`].
    pub async fn fill(&mut self, label: &str, text: &str) -> Result<Seen> {
        self.run(json!({"do": "fill", "label": label, "text": text}))
            .await
    }

    /// Presses a key, such as `Tab`.
    ///
    /// # Errors
    ///
    /// See [`Self::open`].
    pub async fn press(&mut self, key: &str) -> Result<Seen> {
        self.run(json!({"do": "press", "key": key})).await
    }

    /// Presses the key Enter, which leads to another page.
    ///
    /// # Errors
    ///
    /// See [`Self::open`].
    pub async fn enter(&mut self) -> Result<Seen> {
        self.run(json!({"do": "enter"})).await
    }

    /// Types a text where the keyboard is.
    ///
    /// # Errors
    ///
    /// See [`Self::open`].
    pub async fn type_text(&mut self, text: &str) -> Result<Seen> {
        self.run(json!({"do": "type", "text": text})).await
    }

    /// Checks the page against the rules of WCAG 2.2 AA that a program can check.
    ///
    /// # Errors
    ///
    /// See [`Self::open`].
    pub async fn audit(&mut self) -> Result<Seen> {
        self.run(json!({"do": "audit"})).await
    }

    /// Writes a picture of the whole page.
    ///
    /// # Errors
    ///
    /// See [`Self::open`].
    pub async fn shot(&mut self, file: &Path) -> Result<Seen> {
        self.run(json!({"do": "shot", "file": file})).await
    }

    async fn run(&mut self, action: Value) -> Result<Seen> {
        self.dialogue.tell(&action)?;
        let page = self
            .dialogue
            .expect("page")
            .await
            .with_context(|| action.to_string())?;
        Ok(serde_json::from_value(page)?)
    }
}

//! A page as a person sees it: text, forms, links.

use anyhow::{Context as _, Result, bail};
use reqwest::header::{HeaderMap, REFERRER_POLICY};
use reqwest::{Method, StatusCode};
use scraper::{ElementRef, Html, Selector};
use url::Url;

use super::Hop;

/// A page.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its address.
    pub url: Url,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its HTML.
    pub body: String,
    /// The steps that led here, this page's own last.
    pub chain: Vec<Hop>,
}

impl Page {
    /// The visible text, blanks collapsed.
    #[must_use]
    pub fn text(&self) -> String {
        let document = Html::parse_document(&self.body);
        let words: Vec<&str> = document
            .root_element()
            .text()
            .flat_map(str::split_ascii_whitespace)
            .collect();
        words.join(" ")
    }

    /// The texts of the elements that a CSS selector finds.
    ///
    /// # Errors
    ///
    /// If it is not a selector.
    pub fn texts(&self, selector: &str) -> Result<Vec<String>> {
        let document = Html::parse_document(&self.body);
        let selector = parse_selector(selector)?;
        Ok(document
            .select(&selector)
            .map(|element| element.text().collect::<String>().trim().to_owned())
            .collect())
    }

    /// The addresses of the links.
    ///
    /// # Errors
    ///
    /// Never for this selector.
    pub fn links(&self) -> Result<Vec<String>> {
        let document = Html::parse_document(&self.body);
        let selector = parse_selector("a[href]")?;
        let links = document.select(&selector);
        Ok(links
            .filter_map(|link| link.attr("href").map(str::to_owned))
            .collect())
    }

    /// The only form of the page, or the first that has a field or button of this name.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn form(&self, with: &str) -> Result<Form> {
        let document = Html::parse_document(&self.body);
        let forms = parse_selector("form")?;
        document
            .select(&forms)
            .map(Form::read)
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .find(|form| form.knows(with))
            .with_context(|| {
                format!(
                    "no form with {with:?} at {} ({}): {}",
                    self.url,
                    self.status,
                    self.text()
                )
            })
    }

    /// All forms of the page.
    ///
    /// # Errors
    ///
    /// Never for these selectors.
    pub fn forms(&self) -> Result<Vec<Form>> {
        let document = Html::parse_document(&self.body);
        let forms = parse_selector("form")?;
        document.select(&forms).map(Form::read).collect()
    }

    /// Whether the page asks browsers not to say where they came from.
    pub(super) fn no_referrer(&self) -> bool {
        let header = self.headers.get(REFERRER_POLICY);
        header.is_some_and(|value| value.as_bytes() == b"no-referrer")
    }
}

/// A form, with the values that the page gave its fields.
#[derive(Debug, Clone)]
pub struct Form {
    /// Where it is sent, as written.
    pub action: String,
    /// How it is sent.
    pub method: Method,
    fields: Vec<(String, String)>,
    buttons: Vec<(String, String)>,
    pressed: Option<(String, String)>,
}

impl Form {
    fn read(form: ElementRef<'_>) -> Result<Self> {
        let inputs = parse_selector("input[name], textarea[name], select[name]")?;
        let buttons = parse_selector("button[name], input[type=submit][name]")?;
        let pair = |element: ElementRef<'_>| {
            let name = element.attr("name").unwrap_or_default().to_owned();
            (name, element.attr("value").unwrap_or_default().to_owned())
        };
        let post = form
            .attr("method")
            .is_some_and(|method| method.eq_ignore_ascii_case("post"));
        Ok(Self {
            action: form.attr("action").unwrap_or_default().to_owned(),
            method: if post { Method::POST } else { Method::GET },
            fields: form
                .select(&inputs)
                .filter(|input| counts(*input))
                .map(pair)
                .collect(),
            buttons: form.select(&buttons).map(pair).collect(),
            pressed: None,
        })
    }

    /// Whether there is a field or button of this name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        let mut all = self.fields.iter().chain(&self.buttons);
        all.any(|(known, _)| known == name)
    }

    /// The value of a field.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Types into a field (or forges a hidden one).
    #[must_use]
    pub fn fill(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a field out, which no browser would do.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    /// Presses the button of this name and value.
    ///
    /// # Errors
    ///
    /// If the form has no such button.
    pub fn press(mut self, name: &str, value: &str) -> Result<Self> {
        let button = (name.to_owned(), value.to_owned());
        if !self.buttons.contains(&button) {
            bail!("no button {name}={value}, only {:?}", self.buttons);
        }
        self.pressed = Some(button);
        Ok(self)
    }

    /// The body of the request.
    pub(super) fn encoded(&self) -> Result<String> {
        let pairs: Vec<&(String, String)> = self.fields.iter().chain(&self.pressed).collect();
        Ok(serde_urlencoded::to_string(pairs)?)
    }
}

/// Unchecked boxes and buttons are not sent.
fn counts(input: ElementRef<'_>) -> bool {
    match input.attr("type").unwrap_or("text") {
        "checkbox" | "radio" => input.attr("checked").is_some(),
        "submit" | "button" | "reset" => false,
        _ => input.attr("disabled").is_none(),
    }
}

fn parse_selector(selector: &str) -> Result<Selector> {
    // The library's error borrows the text and cannot be kept.
    Selector::parse(selector).map_err(|error| anyhow::anyhow!("{selector}: {error}"))
}

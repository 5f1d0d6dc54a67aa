//! A page of text, figures and tables, complete without any script; a script adds what moves.

use serde::Serialize;

use crate::Error;
use crate::figure::{Figure, Room, page_css};
use crate::html::Html;
use crate::page::Page;

/// The page without its content.
pub(crate) const TEMPLATE: &str = include_str!("../pages/report.html");

/// A cell of a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    /// By which it is put in order, and what a CSV file holds.
    pub(crate) value: Option<f64>,
    /// Drawn behind the text, from 0 to 1.
    pub(crate) share: Option<f64>,
    /// Stands out.
    pub(crate) strong: bool,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// A number, and how it is written; an en dash where there is none.
    pub(crate) fn number(value: Option<f64>, write: impl Fn(f64) -> String) -> Self {
        Self {
            text: value.map_or_else(|| "–".into(), write),
            value,
            ..Self::default()
        }
    }

    pub(crate) fn whole(value: usize) -> Self {
        Self::number(Some(value as f64), |_| value.to_string())
    }

    pub(crate) fn with_share(mut self, share: Option<f64>) -> Self {
        self.share = share.map(|share| share.clamp(0.0, 1.0));
        self
    }

    pub(crate) fn strong(mut self, strong: bool) -> Self {
        self.strong = strong;
        self
    }
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Numbers stand at the right.
    pub(crate) numeric: bool,
}

impl Column {
    pub(crate) fn text(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            numeric: false,
        }
    }

    pub(crate) fn number(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            numeric: true,
        }
    }
}

/// A row of a table, and the head that it is of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Cell>,
    pub(crate) head: Option<(usize, usize)>,
}

/// A table whose columns put it in order when they are clicked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// Name of its file, of letters, digits and dashes.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) caption: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    /// The column by which the rows stand in order, the largest first.
    pub(crate) sorted: Option<usize>,
}

/// A piece of a section.
#[derive(Debug, Clone)]
pub(crate) enum Block {
    Paragraph(String),
    /// Names and values.
    Facts(Vec<(String, String)>),
    /// A few numbers that matter most: name, number, and what stands beside it.
    Numbers(Vec<(String, String, String)>),
    Figures(Vec<Figure>),
    Table(Table),
    /// Two side by side, where there is room.
    Beside(Vec<Block>),
}

/// A section with its heading.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
    /// Closed until it is opened.
    pub(crate) folded: bool,
}

impl Section {
    pub(crate) fn new(title: &str, blocks: Vec<Block>) -> Self {
        Self {
            title: title.to_owned(),
            blocks,
            folded: false,
        }
    }

    pub(crate) fn folded(mut self) -> Self {
        self.folded = true;
        self
    }
}

/// A page.
#[derive(Debug, Clone)]
pub struct Document {
    /// In large letters.
    pub(crate) title: String,
    /// Beside it.
    pub(crate) facts: String,
    /// Start of the names of downloaded files.
    pub(crate) file: String,
    pub(crate) sections: Vec<Section>,
    /// What is missing, and other things to know.
    pub(crate) notes: Vec<String>,
}

#[derive(Serialize)]
struct Data<'a> {
    file: &'a str,
}

impl Document {
    /// Its figures, in order.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        let blocks = self.sections.iter().flat_map(|section| &section.blocks);
        let flat = blocks.flat_map(|block| match block {
            Block::Beside(blocks) => blocks.as_slice(),
            block => std::slice::from_ref(block),
        });
        flat.flat_map(|block| match block {
            Block::Figures(figures) => figures.as_slice(),
            _ => &[],
        })
    }

    /// What is missing, and other things to know, as sentences.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The text of the file: whole without a network, and without a script.
    ///
    /// # Errors
    /// None in practice: texts always can be written as JSON.
    pub fn render(&self) -> Result<String, Error> {
        let title = format!("{} · bertology", self.title);
        let page = Page::new(TEMPLATE, &title, &Data { file: &self.file })?;
        Ok(page.body(self.body()).render())
    }

    fn body(&self) -> String {
        let mut html = Html::default();
        html.raw("<style>");
        html.raw(&page_css());
        html.raw("</style>");
        html.open("header", &[("class", "bar")]);
        html.raw(BRAND);
        html.open("div", &[("class", "subject")]);
        html.element("h1", &[], &self.title);
        html.element("span", &[("class", "facts")], &self.facts);
        html.close("div");
        html.raw("<span id=\"theme-place\"></span></header><main class=\"report\">");
        for section in &self.sections {
            write_section(&mut html, section);
        }
        html.raw("</main>");
        html.open("footer", &[("class", "notes")]);
        html.element("p", &[], "Layers and heads are counted from 0.");
        if !self.notes.is_empty() {
            html.open("ul", &[]);
            for note in &self.notes {
                html.element("li", &[], note);
            }
            html.close("ul");
        }
        html.close("footer");
        html.finish()
    }
}

/// The sign of the house.
const BRAND: &str = "<span class=\"brand\"><svg width=\"22\" height=\"22\" viewBox=\"0 0 22 22\" \
fill=\"none\" aria-hidden=\"true\"><path d=\"M4 5C11 5 11 17 18 17M4 11c7 0 7-6 14-6M4 17c7 0 7-6 14-6\" \
stroke=\"currentColor\" stroke-width=\"1.8\"/><g fill=\"currentColor\"><circle cx=\"4\" cy=\"5\" r=\"2.2\"/>\
<circle cx=\"4\" cy=\"11\" r=\"2.2\"/><circle cx=\"4\" cy=\"17\" r=\"2.2\"/><circle cx=\"18\" cy=\"5\" \
r=\"2.2\"/><circle cx=\"18\" cy=\"11\" r=\"2.2\"/><circle cx=\"18\" cy=\"17\" r=\"2.2\"/></g></svg>bertology</span>";

fn write_section(html: &mut Html, section: &Section) {
    if section.folded {
        html.raw("<details class=\"section\"><summary>");
        html.element("h2", &[], &section.title);
        html.raw("</summary>");
    } else {
        html.raw("<section class=\"section\">");
        html.element("h2", &[], &section.title);
    }
    for block in &section.blocks {
        write_block(html, block);
    }
    html.close(if section.folded { "details" } else { "section" });
}

fn write_block(html: &mut Html, block: &Block) {
    match block {
        Block::Paragraph(text) => html.element("p", &[("class", "prose")], text),
        Block::Facts(facts) => {
            html.raw("<dl class=\"record\">");
            for (name, value) in facts {
                html.element("dt", &[], name);
                html.element("dd", &[], value);
            }
            html.raw("</dl>");
        }
        Block::Numbers(numbers) => {
            html.raw("<dl class=\"numbers\">");
            for (name, number, beside) in numbers {
                html.raw("<div>");
                html.element("dt", &[], name);
                html.element("dd", &[("class", "number")], number);
                if !beside.is_empty() {
                    html.element("dd", &[("class", "beside")], beside);
                }
                html.raw("</div>");
            }
            html.raw("</dl>");
        }
        Block::Figures(figures) => {
            let many = figures.len() > 4 || figures.len() == 3;
            let plain = figures.iter().all(|figure| figure.room == Room::One);
            let class = if many && plain {
                "figures three"
            } else {
                "figures"
            };
            html.open("div", &[("class", class)]);
            for figure in figures {
                write_figure(html, figure);
            }
            html.raw("</div>");
        }
        Block::Table(table) => write_table(html, table),
        Block::Beside(blocks) => {
            html.raw("<div class=\"pair\">");
            for block in blocks {
                write_block(html, block);
            }
            html.close("div");
        }
    }
}

fn write_figure(html: &mut Html, figure: &Figure) {
    let class = match figure.room {
        Room::One => "card plot",
        Room::Wide => "card plot wide",
        Room::Tall => "card plot tall",
    };
    html.open(
        "figure",
        &[
            ("class", class),
            ("id", &figure.id),
            ("data-columns", &figure.columns),
            ("data-sortable", if figure.sortable { "yes" } else { "no" }),
        ],
    );
    html.open("div", &[("class", "plot-head")]);
    html.element("h3", &[], &figure.title);
    html.raw("<span class=\"plot-tools\"></span></div>");
    let width = format!("--natural:{:.0}px", figure.width());
    html.open("div", &[("class", "plot-body"), ("style", &width)]);
    html.raw(&figure.element());
    html.close("div");
    if !figure.caption.is_empty() {
        html.element("figcaption", &[], &figure.caption);
    }
    html.close("figure");
}

fn write_table(html: &mut Html, table: &Table) {
    html.open("div", &[("class", "card sheet"), ("id", &table.id)]);
    html.open("div", &[("class", "plot-head")]);
    let name = format!("{}-name", table.id);
    html.element("h3", &[("id", &name)], &table.title);
    html.raw("<span class=\"plot-tools\"></span></div>");
    if !table.caption.is_empty() {
        html.element("p", &[("class", "muted small")], &table.caption);
    }
    html.open(
        "div",
        &[
            ("class", "sheet-body"),
            ("tabindex", "0"),
            ("role", "region"),
            ("aria-labelledby", &name),
        ],
    );
    html.open("table", &[("aria-labelledby", &name)]);
    html.raw("<thead><tr>");
    for (at, column) in table.columns.iter().enumerate() {
        let class = match (column.numeric, column.name.as_str()) {
            // Short numbers need no room to themselves.
            (true, "layer" | "head" | "step" | "heads" | "cluster") => "right narrow",
            (true, _) => "right",
            (false, _) => "",
        };
        let mut attributes = vec![("scope", "col"), ("class", class)];
        if table.sorted == Some(at) {
            attributes.push(("aria-sort", "descending"));
        }
        html.element("th", &attributes, &column.name);
    }
    html.raw("</tr></thead><tbody>");
    for row in &table.rows {
        match row.head {
            Some((layer, head)) => html.open("tr", &[("data-head", &format!("{layer}.{head}"))]),
            None => html.open("tr", &[]),
        }
        for (cell, column) in row.cells.iter().zip(&table.columns) {
            write_cell(html, cell, column);
        }
        html.close("tr");
    }
    html.raw("</tbody></table></div></div>");
}

fn write_cell(html: &mut Html, cell: &Cell, column: &Column) {
    let value = cell.value.map(|value| value.to_string());
    let share = cell
        .share
        .map(|share| format!("--share:{:.1}%", share * 100.0));
    let mut attributes = Vec::new();
    let class = match (column.numeric, cell.strong) {
        (true, true) => "right strong",
        (true, false) => "right",
        (false, true) => "strong",
        (false, false) => "",
    };
    if !class.is_empty() {
        attributes.push(("class", class));
    }
    if let Some(value) = &value {
        attributes.push(("data-value", value));
    }
    if let Some(share) = &share {
        attributes.push(("style", share));
    }
    html.element("td", &attributes, &cell.text);
}

//! A report as Markdown that fits a pull request. Where it would be too long, rows and statements go first, then whole
//! sections, and it says so.

use crate::domain::chart::Sheet;
use crate::domain::document::{Block, Document, Section, TableBlock};
use crate::domain::text::{counted, printable};
use crate::report::markdown::{escaped, table_lines};

/// What GitHub takes as the body of a pull request or a comment.
pub const MOST_CHARACTERS: usize = 65_536;

/// Characters of a cell; of a longer one the end goes.
const CELL: usize = 160;

/// How much is shown of a report: the first that fits.
const LEVELS: [Level; 9] = [
    Level { rows: usize::MAX, statements: true },
    Level { rows: 100, statements: true },
    Level { rows: 40, statements: true },
    Level { rows: 80, statements: false },
    Level { rows: 40, statements: false },
    Level { rows: 20, statements: false },
    Level { rows: 10, statements: false },
    Level { rows: 5, statements: false },
    Level { rows: 2, statements: false },
];

/// How much is shown of each table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    rows: usize,
    statements: bool,
}

/// The report in at most so many characters.
pub fn markdown_text(document: &Document, most: usize) -> String {
    let mut text = String::new();
    for level in LEVELS {
        text = written(document, level, document.sections.len());
        if length(&text) <= most {
            return text;
        }
    }
    // Even the fewest rows are too many: the last sections go.
    for sections in (0..document.sections.len()).rev() {
        text = written(document, LEVELS[LEVELS.len() - 1], sections);
        if length(&text) <= most {
            return text;
        }
    }
    text.chars().take(most).collect()
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn written(document: &Document, level: Level, sections: usize) -> String {
    let mut lines = vec![format!("# {}", inline(&document.title)), String::new()];
    lines.extend(document.about.iter().flat_map(|sentence| [prose(sentence), String::new()]));
    let shortened = cuts(document, level, sections);
    if !shortened.is_empty() {
        lines.extend([format!("*Cut to fit: {shortened}. `benchdb report` writes a page with all.*"), String::new()]);
    }
    for section in document.sections.iter().take(sections) {
        write_section(section, level, &mut lines);
    }
    let mut text = lines.join("\n");
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// What was cut, in words.
fn cuts(document: &Document, level: Level, sections: usize) -> String {
    let mut cuts = Vec::new();
    let tables = || {
        document.sections.iter().flat_map(|section| &section.blocks).filter_map(|block| match block {
            Block::Table(table) => Some(table),
            Block::Sheet(_) => None,
        })
    };
    let longer = tables().filter(|table| table.table.rows.len() > level.rows).count();
    if longer > 0 {
        cuts.push(format!("{} after {}", counted(longer, "table", "tables"), counted(level.rows, "row", "rows")));
    }
    if !level.statements && tables().any(|table| table.statement.is_some()) {
        cuts.push("the SQL below the tables is left out".to_owned());
    }
    let left: Vec<&str> = document.sections.iter().skip(sections).map(|section| section.title.as_str()).collect();
    if !left.is_empty() {
        cuts.push(format!("sections left out: {}", left.join(", ")));
    }
    cuts.join("; ")
}

fn write_section(section: &Section, level: Level, lines: &mut Vec<String>) {
    lines.extend([format!("## {}", inline(&section.title)), String::new()]);
    if !section.notes.is_empty() {
        lines.extend(section.notes.iter().map(|note| format!("- {}", prose(note))));
        lines.push(String::new());
    }
    let (mut charts, mut missing) = (Vec::new(), Vec::new());
    for block in &section.blocks {
        match block {
            Block::Table(block) => write_table(block, level, lines),
            Block::Sheet(Sheet::Chart(chart)) => charts.push(format!("- {} (`{}`)", prose(&chart.title), chart.name)),
            Block::Sheet(Sheet::Nothing { name, reason }) => {
                missing.push(format!("- `{name}`: {}", prose(reason)));
            }
        }
    }
    for (heading, list) in [
        ("Markdown has no pictures of its own; `benchdb visualize` draws, and `benchdb report` shows:", charts),
        ("Nothing to show:", missing),
    ] {
        if !list.is_empty() {
            lines.extend([heading.to_owned(), String::new()]);
            lines.extend(list);
            lines.push(String::new());
        }
    }
}

fn write_table(block: &TableBlock, level: Level, lines: &mut Vec<String>) {
    let table = &block.table;
    if !table.title.is_empty() {
        lines.extend([format!("**{}**", inline(&table.title)), String::new()]);
    }
    lines.extend(block.notes.iter().flat_map(|note| [prose(note), String::new()]));
    if table.rows.is_empty() {
        lines.extend(["No rows.".to_owned(), String::new()]);
    } else {
        lines.extend(table_lines(table, level.rows, CELL));
        lines.push(String::new());
    }
    let missing = block.rows - table.rows.len().min(level.rows);
    if missing > 0 {
        lines.extend([format!("{} left out.", counted(missing, "more row is", "more rows are")), String::new()]);
    }
    if let Some(statement) = block.statement.as_ref().filter(|_| level.statements) {
        let fence = "`".repeat(longest_fence(&statement.sql).max(2) + 1);
        lines.extend([
            format!("<details><summary>{}</summary>", statement.gives.text()),
            String::new(),
            format!("{fence}sql"),
            statement.sql.trim_end().to_owned(),
            fence,
            String::new(),
            "</details>".to_owned(),
            String::new(),
        ]);
    }
}

/// A text from the record or a heading: nothing in it is Markdown.
fn inline(text: &str) -> String {
    escaped(&printable(text))
}

/// A sentence of ours: what stands between backticks is code, the rest is text.
fn prose(text: &str) -> String {
    let text = printable(text).replace(['\n', '\r'], " ");
    let pieces: Vec<&str> = text.split('`').collect();
    if pieces.len().is_multiple_of(2) {
        return escaped(&text);
    }
    let piece = |(index, piece): (usize, &&str)| match (index % 2 == 1, piece.is_empty()) {
        (_, true) => String::new(),
        (true, false) => ["`", piece, "`"].concat(),
        (false, false) => escaped(piece),
    };
    pieces.iter().enumerate().map(piece).collect()
}

/// The most backticks in a row.
fn longest_fence(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Table;
    use crate::domain::document::{Gives, Statement};

    fn document(rows: usize, sections: usize) -> Document {
        let mut table = Table::new("Things", &["name", "ms"]);
        for index in 0..rows {
            table.push([format!("number {index}").into(), (index as f64).into()]);
        }
        let statement = Some(Statement { sql: "SELECT 1 -- ```".to_owned(), gives: Gives::Rows });
        let block = TableBlock { statement, ..TableBlock::whole(table) };
        let section = |index: usize| Section {
            name: format!("s{index}"),
            title: format!("Section {index}"),
            notes: vec!["a `--flag` of <b>".to_owned()],
            blocks: vec![Block::Table(block.clone())],
        };
        Document {
            title: "Title".to_owned(),
            about: vec!["about".to_owned()],
            sections: (0..sections).map(section).collect(),
        }
    }

    #[test]
    fn what_fits_is_whole() {
        let text = markdown_text(&document(3, 1), MOST_CHARACTERS);
        assert!(text.contains("| number 2 | 2.000 |") && text.contains("````sql"), "{text}");
        assert!(text.contains("- a `--flag` of &lt;b>") && !text.contains("Cut to fit"), "{text}");
    }

    #[test]
    fn what_does_not_fit_is_cut_and_says_so() {
        let text = markdown_text(&document(3000, 3), 20_000);
        assert!(length(&text) <= 20_000);
        assert!(text.contains("*Cut to fit: 3 tables after 100 rows."), "{}", &text[..300]);
        assert!(text.contains("2900 more rows are left out."), "{}", &text[text.len() - 300..]);
        let text = markdown_text(&document(3000, 3), 700);
        assert!(length(&text) <= 700, "{text}");
        assert!(
            text.contains("the SQL below the tables is left out") && text.contains("3 tables after 2 rows"),
            "{text}"
        );
        let text = markdown_text(&document(3000, 30), 1000);
        assert!(length(&text) <= 1000 && text.contains("sections left out: "), "{text}");
        assert!(length(&markdown_text(&document(3000, 30), 50)) <= 50);
    }

    #[test]
    fn a_hostile_name_stays_in_its_cell() {
        let hostile = "<script>|`a`\r\n\n# b\n| --- |\n</details>\u{202e}```";
        let mut table = Table::new(hostile, &["name", hostile]);
        table.push(["first".into(), hostile.into()]);
        let statement = Some(Statement { sql: ["SELECT '", hostile, "'"].concat(), gives: Gives::Rows });
        let block = TableBlock { statement, notes: vec![hostile.to_owned()], ..TableBlock::whole(table) };
        let section = Section {
            notes: vec![["of `", hostile, "`"].concat()],
            blocks: vec![Block::Table(block)],
            ..Section::new("s", hostile)
        };
        let document = Document { title: hostile.to_owned(), about: vec![hostile.to_owned()], sections: vec![section] };
        let text = markdown_text(&document, MOST_CHARACTERS);
        // The statement is code in a fence that nothing in it ends; all else is escaped.
        let (before, rest) = text.split_once("\n````sql\n").unwrap();
        let (_, after) = rest.split_once("\n````\n").unwrap();
        for outside in [before, after] {
            assert!(!outside.contains("<script") && !outside.contains('\u{202e}'), "{outside}");
        }
        assert_eq!(after.trim(), "</details>");
        let rows: Vec<&str> = before.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 3, "head, alignment and the row: {before}");
        let ends = |row: &str| row.replace("\\|", "").matches('|').count();
        assert!(rows.iter().all(|row| ends(row) == 3), "{rows:?}");
        assert_eq!(before.lines().filter(|line| line.starts_with('#')).count(), 2, "{before}");
    }

    #[test]
    fn code_in_a_sentence_stays_code() {
        assert_eq!(prose("use `a|b` | <c>"), "use `a|b` \\| &lt;c>");
        assert_eq!(prose("one ` alone"), "one \\` alone");
    }
}

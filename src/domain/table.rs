//! A table of results: what the answers of a query and the rows of a report have in common.

use serde::Serialize;

/// One value of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// Not measured, or not known.
    Null,
    /// A whole number.
    Integer(i64),
    /// A number.
    Real(f64),
    /// A text.
    Text(String),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u64> for Cell {
    /// Counts beyond what a signed integer holds do not occur; they would show as the largest one.
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Named columns and their rows; every row has one cell a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What it shows; empty where that is plain.
    pub title: String,
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// Whether nobody knows if the rows can be compared: none of their values is then called the best of its column.
    pub unrelated: bool,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(title: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
            unrelated: false,
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Moves those of the columns in which all rows have the same text into the title, if there are any rows: `Verdicts:
    /// engine burn-flex, precision fp32`. A text that says nothing (empty, `{}`) goes without a word.
    pub fn fold_shared(&mut self, names: &[&str]) {
        let shared: Vec<(String, String)> = names
            .iter()
            .filter_map(|name| {
                let index = self.columns.iter().position(|column| column == name)?;
                let first = self.rows.first()?.get(index)?.clone();
                let text = match &first {
                    Cell::Text(text) => text.clone(),
                    Cell::Integer(number) => number.to_string(),
                    Cell::Null => String::new(),
                    Cell::Real(_) => return None,
                };
                self.rows.iter().all(|row| row.get(index) == Some(&first)).then(|| ((*name).to_owned(), text))
            })
            .collect();
        self.drop_columns(&shared.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
        for (name, text) in shared.iter().filter(|(_, text)| !text.is_empty() && text != "{}") {
            let link = match &self.title {
                title if title.is_empty() => "",
                title if title.contains(": ") => ", ",
                _ => ": ",
            };
            self.title.push_str(&[link, name, " ", text].concat());
        }
    }

    /// Gives a column another name.
    pub fn rename_column(&mut self, old: &str, new: &str) {
        for column in self.columns.iter_mut().filter(|column| *column == old) {
            new.clone_into(column);
        }
    }

    /// Puts other cells into a column.
    pub fn map_column(&mut self, name: &str, mut cell: impl FnMut(&Cell) -> Cell) {
        let Some(index) = self.columns.iter().position(|column| column == name) else { return };
        self.rows.iter_mut().filter_map(|row| row.get_mut(index)).for_each(|old| *old = cell(old));
    }

    /// Leaves out those of the columns in which every row is empty.
    pub fn drop_empty(&mut self, names: &[&str]) {
        let is_empty = |cell: &Cell| match cell {
            Cell::Null => true,
            Cell::Text(text) => text.is_empty() || text == "{}",
            _ => false,
        };
        let empty: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| {
                let index = self.columns.iter().position(|column| column == name);
                index.is_some_and(|index| self.rows.iter().all(|row| row.get(index).is_none_or(is_empty)))
            })
            .collect();
        self.drop_columns(&empty);
    }

    /// Leaves out the columns of these names.
    pub fn drop_columns(&mut self, names: &[&str]) {
        let kept: Vec<bool> = self.columns.iter().map(|name| !names.contains(&name.as_str())).collect();
        let keep = |index: usize| kept.get(index).copied().unwrap_or(true);
        for row in &mut self.rows {
            *row = (0..).zip(std::mem::take(row)).filter(|(index, _)| keep(*index)).map(|(_, cell)| cell).collect();
        }
        let columns = std::mem::take(&mut self.columns);
        self.columns = (0..).zip(columns).filter(|(index, _)| keep(*index)).map(|(_, name)| name).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_rows_share_stands_in_the_title() {
        let mut table = Table::new("Runs", &["model", "engine", "batch", "note"]);
        table.push(["a".into(), "flex".into(), 1_u32.into(), "".into()]);
        table.push(["b".into(), "flex".into(), 1_u32.into(), "".into()]);
        table.fold_shared(&["model", "engine", "batch", "unknown"]);
        table.drop_empty(&["note"]);
        assert_eq!(table.title, "Runs: engine flex, batch 1");
        assert_eq!(table.columns, ["model"]);
        let mut empty = Table::new("Runs", &["model"]);
        empty.fold_shared(&["model"]);
        assert_eq!(empty.columns, ["model"]);
    }

    #[test]
    fn a_column_goes_with_its_cells() {
        let mut table = Table::new("", &["a", "b", "c"]);
        table.push([1_u32.into(), 2_u32.into(), 3_u32.into()]);
        table.map_column("b", |cell| if *cell == Cell::Integer(2) { Cell::Null } else { 9_u32.into() });
        assert_eq!(table.rows, [[Cell::Integer(1), Cell::Null, Cell::Integer(3)]]);
        table.drop_columns(&["b", "unknown"]);
        assert_eq!(table.columns, ["a", "c"]);
        assert_eq!(table.rows, [[Cell::Integer(1), Cell::Integer(3)]]);
    }
}

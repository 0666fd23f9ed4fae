//! What the administrators' pages show and change. Tables are read a page at a time, from after the
//! last row of the page before, in the order of an index; large ones are not counted.

pub mod history;
pub mod images;
pub mod jobs;
pub mod links;
pub mod statistics;
pub mod tiers;
pub mod users;

use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder, postgres::PgRow};

/// How many rows there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub rows: u64,
    /// Whether it is what the planner believes rather than what was counted: beyond 10,000 rows.
    pub is_estimate: bool,
}

/// Plans the statements of this transaction for their values, which whoever reads pages does first:
/// a filter that is not set, as in `$1 IS NULL OR tier_id = $1`, then costs nothing, and one that
/// is set finds its index. Outside a transaction it does nothing.
pub async fn plan_for_values(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("SET LOCAL plan_cache_mode = force_custom_plan").execute(connection).await?;
    Ok(())
}

/// A [`Count`] of the rows of a table that meet a condition: exact up to 10,000, then the planner's
/// number of all the table's rows; exact once more where there is none, as nobody has analysed the
/// table.
macro_rules! count_rows {
    ($connection:expr, $table:tt, $condition:tt $(, $argument:expr)*) => {{
        let counted = sqlx::query!(
            "WITH counted AS (
                 SELECT count(*) AS rows FROM (SELECT FROM " + $table + " WHERE " + $condition + " LIMIT 10001) AS s
             ), estimated AS (
                 SELECT reltuples::bigint AS rows FROM pg_class WHERE oid = '" + $table + "'::regclass
             )
             SELECT CASE
                        WHEN counted.rows <= 10000 THEN counted.rows
                        WHEN estimated.rows >= 0 THEN greatest(estimated.rows, counted.rows)
                        ELSE (SELECT count(*) FROM " + $table + " WHERE " + $condition + ")
                    END AS \"rows!\",
                    counted.rows > 10000 AND estimated.rows >= 0 AS \"is_estimate!\"
             FROM counted, estimated"
            $(, $argument)*
        );
        let counted = counted.fetch_one($connection).await?;
        Ok(crate::db::admin::Count {
            rows: crate::db::unsigned(counted.rows)?,
            is_estimate: counted.is_estimate,
        })
    }};
}
use count_rows;

/// The error of a cursor that no page ended with.
const NO_SUCH_PAGE: &str = "There is no such page.";

/// The rows of a query, converted.
async fn fetch<R, T>(
    mut query: QueryBuilder<Postgres>,
    connection: &mut PgConnection,
) -> sqlx::Result<Vec<T>>
where
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    T: TryFrom<R, Error = sqlx::Error>,
{
    let rows = query.build_query_as::<R>().fetch_all(connection).await?;
    rows.into_iter().map(T::try_from).collect()
}

/// The columns that a list is ordered by and continued after, all in one direction. Each column has
/// the start of a query for its value in the row with an id; the id itself needs none.
struct Keyset {
    columns: &'static [(&'static str, &'static str)],
    is_descending: bool,
}

impl Keyset {
    fn ascending(columns: &'static [(&'static str, &'static str)]) -> Self {
        Self { columns, is_descending: false }
    }

    fn descending(columns: &'static [(&'static str, &'static str)]) -> Self {
        Self { columns, is_descending: true }
    }

    /// Adds a condition: only the rows after the one with this id.
    fn push_after(&self, query: &mut QueryBuilder<Postgres>, id: i64) {
        let columns: Vec<_> = self.columns.iter().map(|(column, _)| *column).collect();
        query.push(" AND (").push(columns.join(", "));
        query.push(if self.is_descending { ") < (" } else { ") > (" });
        for (n, (_, value)) in self.columns.iter().enumerate() {
            query.push(if n == 0 { "" } else { ", " });
            if value.is_empty() {
                query.push_bind(id);
            } else {
                query.push("(").push(value).push_bind(id).push(")");
            }
        }
        query.push(")");
    }

    fn push_order(&self, query: &mut QueryBuilder<Postgres>) {
        let direction = if self.is_descending { " DESC" } else { "" };
        let columns: Vec<_> =
            self.columns.iter().map(|(column, _)| format!("{column}{direction}")).collect();
        query.push(" ORDER BY ").push(columns.join(", "));
    }
}

/// The pattern for ILIKE that `text` itself matches and nothing else.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// The pattern for ILIKE of texts that contain `text`.
fn containing(text: &str) -> String {
    format!("%{}%", escaped(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_the_signs_of_patterns_for_themselves() {
        assert_eq!(containing("IMG_20%"), r"%IMG\_20\%%");
        assert_eq!(escaped(r"a\b"), r"a\\b");
    }
}

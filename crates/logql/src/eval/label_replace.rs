//! `label_replace`: a label made from another by a regular expression.

use kenning_query::QueryError;

use super::grid::Matrix;
use super::{Evaluator, execution};
use crate::syntax::ast::LabelReplace;

impl Evaluator<'_> {
    pub(super) fn label_replace(&mut self, replace: &LabelReplace) -> Result<Matrix, QueryError> {
        let regex =
            kenning_regex::compile(&format!("^(?:{})$", replace.regex), kenning_regex::Limits::default())
                .map_err(|error| {
                    execution(replace.span, format!("invalid regex in label_replace: {error}"))
                })?;
        let mut matrix = self.evaluate_series(&replace.expr, replace.span)?;
        for series in &mut matrix.series {
            let Some(captures) = regex.captures(series.labels.get(&replace.src)) else { continue };
            let mut value = String::new();
            captures.expand(&replace.replacement, &mut value);
            let mut builder = series.labels.to_builder();
            builder.remove(&replace.dst);
            if !value.is_empty() {
                builder.set(&replace.dst, &value);
            }
            drop(captures);
            series.labels = builder.build_with_empty();
        }
        Ok(matrix)
    }
}

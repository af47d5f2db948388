//! `label_replace`: a label made from another by a regular expression.

use kenning_model::re2;
use kenning_query::QueryError;
use regex::Regex;

use super::grid::Matrix;
use super::{Evaluator, execution};
use crate::syntax::ast::LabelReplace;

impl Evaluator<'_> {
    pub(super) fn label_replace(&mut self, replace: &LabelReplace) -> Result<Matrix, QueryError> {
        let regex = re2::to_rust(&replace.regex)
            .and_then(|regex| Regex::new(&format!("^(?:{regex})$")).map_err(|error| error.to_string()))
            .map_err(|error| execution(replace.span, format!("invalid regex in label_replace: {error}")))?;
        let mut matrix = self.evaluate(&replace.expr)?;
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

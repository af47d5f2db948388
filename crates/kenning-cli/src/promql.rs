//! `kenning promql`: queries as text.

use clap::{Args, Subcommand};
use kenning_promql::{Expr, MatchOp, Matcher, VectorSelector, format, parse};

use crate::Failure;

/// Work on PromQL texts.
#[derive(Args)]
pub(crate) struct Promql {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Print a query as Prometheus formats it
    Format {
        /// The query
        query: String,
    },
    /// Change the label matchers of a query
    LabelMatchers(LabelMatchers),
}

#[derive(Args)]
struct LabelMatchers {
    #[command(subcommand)]
    change: Change,
}

#[derive(Subcommand)]
enum Change {
    /// Set a label matcher in every selector
    Set {
        /// Its comparison: =, !=, =~ or !~
        #[arg(short = 't', long = "type", default_value = "=")]
        kind: String,
        /// The query
        query: String,
        /// The label
        name: String,
        /// The value
        value: String,
    },
    /// Take a label's matchers out of every selector
    Delete {
        /// The query
        query: String,
        /// The label
        name: String,
    },
}

impl Promql {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let expr = match self.work {
            Work::Format { query } => read(&query)?,
            Work::LabelMatchers(LabelMatchers { change: Change::Set { kind, query, name, value } }) => {
                let matcher = Matcher::new(&name, comparison(&kind)?, &value)?;
                changed(&query, &mut |matchers| match matchers.iter_mut().find(|known| known.name == name) {
                    Some(known) => *known = matcher.clone(),
                    None => matchers.push(matcher.clone()),
                })?
            }
            Work::LabelMatchers(LabelMatchers { change: Change::Delete { query, name } }) => {
                changed(&query, &mut |matchers| matchers.retain(|known| known.name != name))?
            }
        };
        println!("{}", format(&expr));
        Ok(())
    }
}

fn read(query: &str) -> Result<Expr, Failure> {
    parse(query).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| problem.render(query)).collect();
        Failure(lines.join("\n"))
    })
}

fn comparison(text: &str) -> Result<MatchOp, Failure> {
    let all = [MatchOp::Eq, MatchOp::Ne, MatchOp::Re, MatchOp::NotRe];
    let found = all.into_iter().find(|op| op.as_str() == text);
    found.ok_or_else(|| Failure(format!("invalid label match type: {text}; use =, !=, =~ or !~")))
}

fn changed(query: &str, change: &mut dyn FnMut(&mut Vec<Matcher>)) -> Result<Expr, Failure> {
    let mut expr = read(query)?;
    selectors(&mut expr, &mut |selector| change(&mut selector.matchers));
    Ok(expr)
}

/// Shows every selector. Expressions are no deeper than the parser allows.
fn selectors(expr: &mut Expr, show: &mut dyn FnMut(&mut VectorSelector)) {
    match expr {
        Expr::Number(_) | Expr::String(_) => {}
        Expr::Paren(e) => selectors(&mut e.inner, show),
        Expr::Unary(e) => selectors(&mut e.operand, show),
        Expr::Binary(e) => {
            selectors(&mut e.left, show);
            selectors(&mut e.right, show);
        }
        Expr::Aggregate(e) => {
            selectors(&mut e.operand, show);
            if let Some(param) = &mut e.param {
                selectors(param, show);
            }
        }
        Expr::Call(e) => e.args.iter_mut().for_each(|arg| selectors(arg, show)),
        Expr::Selector(e) => show(e),
        Expr::Matrix(e) => show(&mut e.selector),
        Expr::Subquery(e) => selectors(&mut e.operand, show),
    }
}

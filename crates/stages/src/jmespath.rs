//! Expressions of the stage `json`: JMESPath (<https://jmespath.org/specification.html>).
//!
//! There: fields, quoted fields, indexes, slices, wildcards, flattening, filters, multi-select lists and hashes, pipes,
//! `||`, `&&`, `!`, comparisons, literals, raw strings, and the functions of [`call`]. Absent: expression references
//! (`&expr`) and the functions that take them (`map`, `sort_by`, `max_by`, `min_by`), refused by name.
//!
//! Promises: never panics; the length of an expression ([`TEXT_BYTES_MAX`]) and its nesting ([`DEPTH_MAX`]) are bounded.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Longest expression, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// Deepest nesting.
const DEPTH_MAX: usize = 48;

/// A parsed expression.
#[derive(Clone, Debug)]
pub(crate) struct Expression(Ast);

#[derive(Clone, Debug)]
enum Ast {
    Current,
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>, i64),
    Literal(Value),
    /// The right side of what the left side finds; nothing of nothing.
    Sub(Box<Ast>, Box<Ast>),
    Pipe(Box<Ast>, Box<Ast>),
    Or(Box<Ast>, Box<Ast>),
    And(Box<Ast>, Box<Ast>),
    Not(Box<Ast>),
    Compare(Comparison, Box<Ast>, Box<Ast>),
    Flatten(Box<Ast>),
    /// Every item of a list through the right side.
    Project(Box<Ast>, Box<Ast>),
    /// Every value of an object through the right side.
    ProjectValues(Box<Ast>, Box<Ast>),
    /// Every item for which the condition holds.
    ProjectIf(Box<Ast>, Box<Ast>, Box<Ast>),
    List(Vec<Ast>),
    Hash(Vec<(String, Ast)>),
    Call(String, Vec<Ast>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Expression {
    /// Reads an expression; the message tells what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let told = |problem: String| format!("{text:?} is not a JMESPath expression: {problem}");
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("an expression has {} bytes; at most {TEXT_BYTES_MAX} work", text.len()));
        }
        let tokens = tokens(text).map_err(told)?;
        let mut parser = Parser { tokens, at: 0, depth: 0 };
        let ast = parser.expression(0).map_err(told)?;
        match parser.peek() {
            Token::End => Ok(Self(ast)),
            other => Err(told(format!("{} is left over", other.shown()))),
        }
    }

    /// What it finds; null for nothing, and where a function is given the wrong type.
    pub fn search<'v>(&self, value: &'v Value) -> Cow<'v, Value> {
        eval(&self.0, value)
    }
}

const NOTHING: &Value = &Value::Null;

fn eval<'v>(ast: &Ast, value: &'v Value) -> Cow<'v, Value> {
    match ast {
        Ast::Current => Cow::Borrowed(value),
        Ast::Field(name) => Cow::Borrowed(value.get(name.as_str()).unwrap_or(NOTHING)),
        Ast::Index(index) => Cow::Borrowed(item(value, *index).unwrap_or(NOTHING)),
        Ast::Slice(from, to, step) => Cow::Owned(slice(value, *from, *to, *step)),
        Ast::Literal(literal) => Cow::Owned(literal.clone()),
        Ast::Sub(left, right) | Ast::Pipe(left, right) => within(eval(left, value), right),
        Ast::Or(left, right) => {
            let left = eval(left, value);
            if is_true(&left) { left } else { eval(right, value) }
        }
        Ast::And(left, right) => {
            let left = eval(left, value);
            if is_true(&left) { eval(right, value) } else { left }
        }
        Ast::Not(inner) => Cow::Owned(Value::Bool(!is_true(&eval(inner, value)))),
        Ast::Compare(how, left, right) => Cow::Owned(compare(*how, &eval(left, value), &eval(right, value))),
        Ast::Flatten(inner) => Cow::Owned(flatten(&eval(inner, value))),
        Ast::Project(left, right) => Cow::Owned(match &*eval(left, value) {
            Value::Array(items) => project(items.iter(), right),
            _ => Value::Null,
        }),
        Ast::ProjectValues(left, right) => Cow::Owned(match &*eval(left, value) {
            Value::Object(map) => project(map.values(), right),
            _ => Value::Null,
        }),
        Ast::ProjectIf(left, condition, right) => Cow::Owned(match &*eval(left, value) {
            Value::Array(items) => {
                project(items.iter().filter(|item| is_true(&eval(condition, item))), right)
            }
            _ => Value::Null,
        }),
        Ast::List(_) | Ast::Hash(_) if value.is_null() => Cow::Borrowed(NOTHING),
        Ast::List(items) => {
            Cow::Owned(Value::Array(items.iter().map(|item| eval(item, value).into_owned()).collect()))
        }
        Ast::Hash(pairs) => {
            let pairs = pairs.iter().map(|(name, ast)| (name.clone(), eval(ast, value).into_owned()));
            Cow::Owned(Value::Object(pairs.collect()))
        }
        Ast::Call(name, args) => {
            let args: Vec<Value> = args.iter().map(|arg| eval(arg, value).into_owned()).collect();
            Cow::Owned(call(name, &args).unwrap_or_default())
        }
    }
}

/// What `right` finds in what was found.
fn within<'v>(left: Cow<'v, Value>, right: &Ast) -> Cow<'v, Value> {
    match left {
        Cow::Borrowed(left) => eval(right, left),
        Cow::Owned(left) => Cow::Owned(eval(right, &left).into_owned()),
    }
}

fn item(value: &Value, index: i64) -> Option<&Value> {
    let items = value.as_array()?;
    let index = if index < 0 { index + items.len() as i64 } else { index };
    items.get(usize::try_from(index).ok()?)
}

fn slice(value: &Value, from: Option<i64>, to: Option<i64>, step: i64) -> Value {
    let Some(items) = value.as_array() else { return Value::Null };
    let len = items.len() as i64;
    let clamp = |bound: i64| {
        let bound = if bound < 0 { bound + len } else { bound };
        if step > 0 { bound.clamp(0, len) } else { bound.clamp(-1, len - 1) }
    };
    let (first, end) = if step > 0 { (0, len) } else { (len - 1, -1) };
    let (mut at, end) = (from.map_or(first, clamp), to.map_or(end, clamp));
    let mut taken = Vec::new();
    while (step > 0 && at < end) || (step < 0 && at > end) {
        taken.extend(usize::try_from(at).ok().and_then(|at| items.get(at)).cloned());
        at = at.saturating_add(step);
    }
    Value::Array(taken)
}

fn flatten(value: &Value) -> Value {
    let Some(items) = value.as_array() else { return Value::Null };
    let mut flat = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Value::Array(inner) => flat.extend(inner.iter().cloned()),
            other => flat.push(other.clone()),
        }
    }
    Value::Array(flat)
}

/// What nothing comes of is left out.
fn project<'v>(items: impl Iterator<Item = &'v Value>, right: &Ast) -> Value {
    Value::Array(items.map(|item| eval(right, item).into_owned()).filter(|found| !found.is_null()).collect())
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn is_equal(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

/// Orders numbers; anything else has no order.
fn compare(how: Comparison, left: &Value, right: &Value) -> Value {
    let numbers = || Some((left.as_f64()?, right.as_f64()?));
    let ordered = |holds: fn(f64, f64) -> bool| numbers().map(|(left, right)| holds(left, right));
    let holds = match how {
        Comparison::Equal => Some(is_equal(left, right)),
        Comparison::NotEqual => Some(!is_equal(left, right)),
        Comparison::Less => ordered(|a, b| a < b),
        Comparison::LessOrEqual => ordered(|a, b| a <= b),
        Comparison::Greater => ordered(|a, b| a > b),
        Comparison::GreaterOrEqual => ordered(|a, b| a >= b),
    };
    holds.map_or(Value::Null, Value::Bool)
}

/// Names of the functions, with the least and the most arguments.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("abs", 1, 1),
    ("avg", 1, 1),
    ("ceil", 1, 1),
    ("contains", 2, 2),
    ("ends_with", 2, 2),
    ("floor", 1, 1),
    ("join", 2, 2),
    ("keys", 1, 1),
    ("length", 1, 1),
    ("max", 1, 1),
    ("merge", 1, 16),
    ("min", 1, 1),
    ("not_null", 1, 16),
    ("reverse", 1, 1),
    ("sort", 1, 1),
    ("starts_with", 2, 2),
    ("sum", 1, 1),
    ("to_array", 1, 1),
    ("to_number", 1, 1),
    ("to_string", 1, 1),
    ("type", 1, 1),
    ("values", 1, 1),
];

/// Calls a function; `None` where an argument has a type that it does not take.
fn call(name: &str, args: &[Value]) -> Option<Value> {
    let first = args.first()?;
    let second = args.get(1);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(match name {
        "abs" => number(first.as_f64()?.abs()),
        "ceil" => number(first.as_f64()?.ceil()),
        "floor" => number(first.as_f64()?.floor()),
        "sum" => number(numbers(first)?.iter().sum()),
        "avg" => {
            let all = numbers(first)?;
            if all.is_empty() { Value::Null } else { number(all.iter().sum::<f64>() / all.len() as f64) }
        }
        "max" => sorted(first)?.pop().unwrap_or_default(),
        "min" => sorted(first)?.into_iter().next().unwrap_or_default(),
        "sort" => Value::Array(sorted(first)?),
        "length" => match first {
            Value::String(text) => Value::from(text.chars().count()),
            Value::Array(items) => Value::from(items.len()),
            Value::Object(map) => Value::from(map.len()),
            _ => return None,
        },
        "keys" => Value::Array(first.as_object()?.keys().cloned().map(Value::String).collect()),
        "values" => Value::Array(first.as_object()?.values().cloned().collect()),
        "reverse" => match first {
            Value::String(text) => Value::String(text.chars().rev().collect()),
            Value::Array(items) => Value::Array(items.iter().rev().cloned().collect()),
            _ => return None,
        },
        "contains" => Value::Bool(match first {
            Value::String(text) => text.contains(second?.as_str()?),
            Value::Array(items) => {
                items.iter().any(|item| second.is_some_and(|wanted| is_equal(item, wanted)))
            }
            _ => return None,
        }),
        "starts_with" => Value::Bool(first.as_str()?.starts_with(second?.as_str()?)),
        "ends_with" => Value::Bool(first.as_str()?.ends_with(second?.as_str()?)),
        "join" => {
            let parts: Option<Vec<String>> = second?.as_array()?.iter().map(text).collect();
            Value::String(parts?.join(first.as_str()?))
        }
        "merge" => {
            let mut merged = Map::new();
            for arg in args {
                merged.extend(arg.as_object()?.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
            Value::Object(merged)
        }
        "not_null" => args.iter().find(|arg| !arg.is_null()).cloned().unwrap_or_default(),
        "to_array" => match first {
            Value::Array(_) => first.clone(),
            other => Value::Array(vec![other.clone()]),
        },
        "to_string" => Value::String(text(first).unwrap_or_else(|| first.to_string())),
        "to_number" => match first {
            Value::Number(_) => first.clone(),
            Value::String(text) => text.parse().ok().map(number).unwrap_or_default(),
            _ => Value::Null,
        },
        "type" => Value::from(match first {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        }),
        _ => return None,
    })
}

/// A number, a whole one where it is.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 { Value::from(value as i64) } else { Value::from(value) }
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(Value::as_f64).collect()
}

/// A list of numbers or of texts, in order.
fn sorted(value: &Value) -> Option<Vec<Value>> {
    let mut items = value.as_array()?.clone();
    if items.iter().all(Value::is_number) {
        items.sort_by(|a, b| a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0)));
    } else if items.iter().all(Value::is_string) {
        items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    } else {
        return None;
    }
    Some(items)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Quoted(String),
    Number(i64),
    Literal(Value),
    Compare(Comparison),
    /// Marks of one or two characters: `.` `[` `]` `[]` `[?` `{` `}` `(` `)` `,` `:` `|` `||` `&&` `!` `*` `@` `&`.
    Mark(&'static str),
    End,
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Quoted(name) => format!("{name:?}"),
            Self::Number(number) => number.to_string(),
            Self::Literal(value) => value.to_string(),
            Self::Compare(_) => "a comparison".to_owned(),
            Self::Mark(mark) => (*mark).to_owned(),
            Self::End => "the end".to_owned(),
        }
    }

    /// How tightly it binds what stands left of it.
    fn power(&self) -> u8 {
        match self {
            Self::Mark("|") => 1,
            Self::Mark("||") => 2,
            Self::Mark("&&") => 3,
            Self::Compare(_) => 5,
            Self::Mark("[]") => 9,
            Self::Mark("[?") => 21,
            Self::Mark(".") => 40,
            Self::Mark("[") => 55,
            _ => 0,
        }
    }
}

/// Longest first where one begins with the other.
const MARKS: [&str; 18] =
    ["[]", "[?", "||", "&&", ".", "[", "]", "{", "}", "(", ")", ",", ":", "|", "!", "*", "@", "&"];
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = token(first, rest)?;
        found.push(token);
        rest = after.trim_start();
    }
    Ok(found)
}

fn token(first: char, rest: &str) -> Result<(Token, &str), String> {
    if first.is_ascii_alphabetic() || first == '_' {
        let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(len).unwrap_or((rest, ""));
        return Ok((Token::Name(name.to_owned()), after));
    }
    if first == '-' || first.is_ascii_digit() {
        let digits = rest.get(1..).unwrap_or("");
        let len = 1 + digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let (number, after) = rest.split_at_checked(len).unwrap_or((rest, ""));
        let parsed = number.parse().map_err(|_| format!("{number:?} is not a number"))?;
        return Ok((Token::Number(parsed), after));
    }
    if matches!(first, '"' | '\'' | '`') {
        return quoted(first, rest);
    }
    // `!=` before `!`.
    for (text, comparison) in COMPARISONS {
        if let Some(after) = rest.strip_prefix(text) {
            return Ok((Token::Compare(comparison), after));
        }
    }
    let mark = MARKS.iter().find_map(|mark| Some((Token::Mark(mark), rest.strip_prefix(mark)?)));
    mark.ok_or_else(|| format!("{first:?} has no meaning"))
}

/// `"name"`, `'text'` or `` `json` ``.
fn quoted(quote: char, rest: &str) -> Result<(Token, &str), String> {
    let body = rest.get(1..).unwrap_or("");
    let mut escaped = false;
    let end = body.char_indices().find(|(_, c)| {
        let is_end = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        is_end
    });
    let (end, _) = end.ok_or_else(|| format!("{quote} is not closed"))?;
    let (inner, after) = (body.get(..end).unwrap_or(""), body.get(end + 1..).unwrap_or(""));
    let token = match quote {
        '"' => {
            let name = serde_json::from_str(&format!("\"{inner}\""));
            Token::Quoted(name.map_err(|error| format!("\"{inner}\": {error}"))?)
        }
        '\'' => Token::Literal(Value::String(inner.replace("\\'", "'"))),
        _ => {
            let inner = inner.replace("\\`", "`");
            // The specification's old form: a text without quotes.
            Token::Literal(serde_json::from_str(&inner).unwrap_or(Value::String(inner)))
        }
    };
    Ok((token, after))
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

type Parsed = Result<Ast, String>;

/// Below this, what stands right of a projection ends.
const PROJECTION_STOP: u8 = 10;

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn take(&mut self, mark: &'static str) -> bool {
        let is_there = *self.peek() == Token::Mark(mark);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, mark: &'static str) -> Result<(), String> {
        match self.take(mark) {
            true => Ok(()),
            false => Err(format!("{mark} is missing before {}", self.peek().shown())),
        }
    }

    fn expression(&mut self, power: u8) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("nested more than {DEPTH_MAX} levels deep"));
        }
        let mut left = self.prefix()?;
        while power < self.peek().power() {
            left = self.infix(left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn prefix(&mut self) -> Parsed {
        match self.next() {
            Token::Name(name) if self.take("(") => self.call(name),
            Token::Name(name) | Token::Quoted(name) => Ok(Ast::Field(name)),
            Token::Literal(value) => Ok(Ast::Literal(value)),
            Token::Mark("@") => Ok(Ast::Current),
            Token::Mark("!") => Ok(Ast::Not(Box::new(self.expression(45)?))),
            Token::Mark("*") => self.project_values(Ast::Current),
            Token::Mark("[]") => self.project(Ast::Flatten(Box::new(Ast::Current))),
            Token::Mark("[?") => self.filter(Ast::Current),
            Token::Mark("[") => match self.peek() {
                Token::Number(_) | Token::Mark(":") => self.bracket(Ast::Current),
                Token::Mark("*") if self.tokens.get(self.at + 1) == Some(&Token::Mark("]")) => {
                    self.bracket(Ast::Current)
                }
                _ => self.list(),
            },
            Token::Mark("{") => self.hash(),
            Token::Mark("(") => {
                let inner = self.expression(0)?;
                self.expect(")").map(|()| inner)
            }
            Token::Mark("&") => Err("& is not supported; only values can be arguments".to_owned()),
            other => Err(format!("{} stands where an expression should", other.shown())),
        }
    }

    fn infix(&mut self, left: Ast) -> Parsed {
        let left = Box::new(left);
        match self.next() {
            Token::Mark(".") => self.after_dot(left),
            Token::Mark("|") => Ok(Ast::Pipe(left, Box::new(self.expression(1)?))),
            Token::Mark("||") => Ok(Ast::Or(left, Box::new(self.expression(2)?))),
            Token::Mark("&&") => Ok(Ast::And(left, Box::new(self.expression(3)?))),
            Token::Compare(how) => Ok(Ast::Compare(how, left, Box::new(self.expression(5)?))),
            Token::Mark("[]") => self.project(Ast::Flatten(left)),
            Token::Mark("[?") => self.filter(*left),
            Token::Mark("[") => self.bracket(*left),
            other => Err(format!("{} has no meaning here", other.shown())),
        }
    }

    fn after_dot(&mut self, left: Box<Ast>) -> Parsed {
        if self.take("*") {
            return self.project_values(*left);
        }
        let right = self.dotted(40)?;
        Ok(Ast::Sub(left, Box::new(right)))
    }

    /// What may stand behind a dot.
    fn dotted(&mut self, power: u8) -> Parsed {
        match self.peek() {
            Token::Name(_) | Token::Quoted(_) | Token::Mark("{" | "*") => self.expression(power),
            Token::Mark("[") => {
                self.at += 1;
                self.list()
            }
            other => Err(format!("{} stands behind a dot", other.shown())),
        }
    }

    /// `[0]`, `[*]` or a slice, its bracket read.
    fn bracket(&mut self, left: Ast) -> Parsed {
        if self.take("*") {
            self.expect("]")?;
            return self.project(left);
        }
        let mut parts: Vec<Option<i64>> = vec![None];
        loop {
            match self.next() {
                Token::Number(number) => {
                    if let Some(last @ None) = parts.last_mut() {
                        *last = Some(number);
                    }
                }
                Token::Mark(":") if parts.len() < 3 => parts.push(None),
                Token::Mark("]") => break,
                other => return Err(format!("{} stands in an index", other.shown())),
            }
        }
        match parts.as_slice() {
            [Some(index)] => Ok(Ast::Sub(Box::new(left), Box::new(Ast::Index(*index)))),
            [None] => Err("an index is missing between [ and ]".to_owned()),
            [_, _, Some(0)] => Err("a slice cannot step by 0".to_owned()),
            [from, to, rest @ ..] => {
                let step = rest.first().copied().flatten().unwrap_or(1);
                let slice = Ast::Sub(Box::new(left), Box::new(Ast::Slice(*from, *to, step)));
                self.project(slice)
            }
            [] => Err("an index is missing".to_owned()),
        }
    }

    fn project(&mut self, left: Ast) -> Parsed {
        Ok(Ast::Project(Box::new(left), Box::new(self.projected(20)?)))
    }

    fn project_values(&mut self, left: Ast) -> Parsed {
        Ok(Ast::ProjectValues(Box::new(left), Box::new(self.projected(20)?)))
    }

    fn filter(&mut self, left: Ast) -> Parsed {
        let condition = self.expression(0)?;
        self.expect("]")?;
        let right = self.projected(21)?;
        Ok(Ast::ProjectIf(Box::new(left), Box::new(condition), Box::new(right)))
    }

    /// What is done to every item: all that follows and binds tightly enough.
    fn projected(&mut self, power: u8) -> Parsed {
        let mut right = match self.peek() {
            token if token.power() < PROJECTION_STOP => return Ok(Ast::Current),
            Token::Mark(".") => {
                self.at += 1;
                if self.take("*") { self.project_values(Ast::Current)? } else { self.dotted(power)? }
            }
            Token::Mark("[" | "[?") => Ast::Current,
            other => return Err(format!("{} has no meaning behind a projection", other.shown())),
        };
        while power < self.peek().power() {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err(format!("nested more than {DEPTH_MAX} levels deep"));
            }
            right = self.infix(right)?;
            self.depth -= 1;
        }
        Ok(right)
    }

    fn list(&mut self) -> Parsed {
        let mut items = Vec::new();
        loop {
            items.push(self.expression(0)?);
            if !self.take(",") {
                break;
            }
        }
        self.expect("]").map(|()| Ast::List(items))
    }

    fn hash(&mut self) -> Parsed {
        let mut pairs = Vec::new();
        loop {
            let (Token::Name(name) | Token::Quoted(name)) = self.next() else {
                return Err("a name is missing after {".to_owned());
            };
            self.expect(":")?;
            pairs.push((name, self.expression(0)?));
            if !self.take(",") {
                break;
            }
        }
        self.expect("}").map(|()| Ast::Hash(pairs))
    }

    fn call(&mut self, name: String) -> Parsed {
        let mut args = Vec::new();
        while !self.take(")") {
            args.push(self.expression(0)?);
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        let Some((_, least, most)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
            let known: Vec<_> = FUNCTIONS.iter().map(|(known, ..)| *known).collect();
            return Err(format!("{name}() is not supported; supported are {}", known.join(", ")));
        };
        if !(*least..=*most).contains(&args.len()) {
            return Err(format!("{name}() takes {least} to {most} arguments, not {}", args.len()));
        }
        Ok(Ast::Call(name, args))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DOCUMENT: &str = r#"{"a":{"b":{"c":1},"list":[1,2,3,[4]]},"n":null,"t":"text","with-dash":2,
        "people":[{"name":"x","age":20},{"name":"y","age":30},{"name":"z"}],"o":{"p":{"v":1},"q":{"v":2}},
        "flag":true,"words":["b","a"]}"#;

    fn check(expression: &str, expect: &str) {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let found = Expression::parse(expression).map(|parsed| parsed.search(&document).to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), Ok(expect), "{expression}");
    }

    #[test]
    fn paths() {
        check("t", r#""text""#);
        check("a.b.c", "1");
        check("a.b", r#"{"c":1}"#);
        check("nope.b.c", "null");
        check("\"with-dash\"", "2");
        check("a.list[0]", "1");
        check("a.list[-1][0]", "4");
        check("a.list[9]", "null");
        check("a.list[1:3]", "[2,3]");
        check("a.list[::-1] | [1]", "3");
        check("a.list[]", "[1,2,3,4]");
        check("people[*].name", r#"["x","y","z"]"#);
        check("people[*].age", "[20,30]");
        check("people[?age > `20`].name | [0]", r#""y""#);
        check("people[?name == 'x'].age", "[20]");
        check("people[?age].name", r#"["x","y"]"#);
        check("o.*.v", "[1,2]");
        check("*.b.c", "[1]");
        check("[t, a.b.c]", r#"["text",1]"#);
        check("{x: t, \"y\": a.b.c}", r#"{"x":"text","y":1}"#);
        check("people[0].[name, age]", r#"["x",20]"#);
        check("@.t", r#""text""#);
    }

    #[test]
    fn logic_and_functions() {
        check("nope || t", r#""text""#);
        check("n || 'else'", r#""else""#);
        check("flag && t", r#""text""#);
        check("!flag", "false");
        check("length(people)", "3");
        check("length(t) == `4`", "true");
        check("join('-', words)", r#""b-a""#);
        check("sort(words)", r#"["a","b"]"#);
        check("max(people[*].age)", "30");
        check("sum(people[*].age)", "50");
        check("to_number('12.5')", "12.5");
        check("to_string(a.b)", r#""{\"c\":1}""#);
        check("keys(o)", r#"["p","q"]"#);
        check("not_null(n, t)", r#""text""#);
        check("contains(t, 'ex')", "true");
        check("type(n)", r#""null""#);
        check("abs(t)", "null");
    }

    fn refuse(expression: &str, expect: &str) {
        let told = Expression::parse(expression).map(|_| ()).unwrap_err();
        assert!(told.contains(expect), "{expression}: {told}");
    }

    #[test]
    fn mistakes_are_told() {
        refuse("a.", "behind a dot");
        refuse("a b", "left over");
        refuse("", "the end stands");
        refuse("sort_by(a, &b)", "& is not supported");
        refuse("nope(a)", "supported are abs");
        refuse("length()", "takes 1 to 1");
        refuse("a[0", "stands in an index");
        refuse("'open", "not closed");
        refuse("#", "no meaning");
        refuse(&"(".repeat(500), "levels deep");
        refuse(&"!".repeat(500), "levels deep");
        refuse(&"a".repeat(2000), "at most 1024");
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-c0-9.\\[\\]?*|&!(){}:,'\"`@ =<>-]{0,40}") {
            let document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
            if let Ok(parsed) = Expression::parse(&text) {
                let _ = parsed.search(&document);
            }
        }
    }
}

//! The language, as expr-lang/expr 1.17.8 reads and evaluates it: values and messages below are
//! its own.

use super::{Environment, Function, MAX_COST, MAX_DEPTH, Program, Scope, Type, Value, is_reserved};

static FUNCTIONS: [Function; 8] = [
    function("name", &[], Type::Text),
    function("incidr", &[Type::Text, Type::Text], Type::Bool),
    function("group", &[Type::Any], Type::Text),
    function("id", &[], Type::Int),
    function("type", &[], Type::Text),
    function("metadata", &[Type::Text], Type::Text),
    function("do", &[], Type::Bool),
    function("port", &[], Type::Text),
];

const fn function(name: &'static str, takes: &'static [Type], gives: Type) -> Function {
    Function { name, takes, gives }
}

struct Query;

impl Environment for Query {
    fn call<'e>(&'e self, function: usize, arguments: &[Value<'e>]) -> Result<Value<'e>, String> {
        Ok(match (function, arguments) {
            (0, _) => Value::text("www.example.org."),
            (1, [Value::Text(address), _]) if address == "x" => {
                return Err("first argument is not an IP address".to_owned());
            }
            (1, [_, Value::Text(network)]) if network == "a" => return Err("invalid CIDR address: a".to_owned()),
            (1, [Value::Text(address), Value::Text(network)]) => Value::Bool(address[..3] == network[..3]),
            (2, _) => Value::text("g"),
            (3, _) => Value::Int(7),
            (4, _) => Value::text("A"),
            (5, [Value::Text(label)]) if label == "a/b" => Value::text("value"),
            (5, _) => Value::text(""),
            (6, _) => Value::Bool(true),
            _ => Value::text("4000"),
        })
    }

    fn variable(&self, variable: usize) -> Value<'_> {
        Value::Int(variable as i64)
    }
}

fn scope() -> Scope {
    Scope::new(&FUNCTIONS)
}

/// Returns the value of an expression as it prints, or the error.
fn value(text: &str) -> Result<String, String> {
    let program = Program::compile(text, &scope()).map_err(|why| format!("{} (1:{})", why.message, why.at + 1))?;
    program.run(&Query).map(|value| value.to_string())
}

/// Expressions with what Go's library makes of them: `=` and the value, `!` and the error when it
/// compiles them, or `?` and the error when it evaluates them.
const TABLE: &str = include_str!("tests.tsv");

#[test]
fn expressions_are_what_they_are_in_go() {
    let mut kinds = [0; 3];
    for row in TABLE.lines() {
        let [text, kind, wanted] = row.splitn(3, '\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let compiled = Program::compile(text, &scope());
        match (kind, compiled) {
            ("=", Ok(program)) => {
                kinds[0] += 1;
                assert_eq!(program.run(&Query).map(|value| value.to_string()).as_deref(), Ok(wanted), "{text}");
            }
            ("!", Err(why)) => {
                kinds[1] += 1;
                let found = format!("{} (1:{})", why.message, why.at + 1);
                assert!(found.starts_with(wanted), "{text}: {found}, not {wanted}");
            }
            ("?", Ok(program)) => {
                kinds[2] += 1;
                let why = program.run(&Query).map(|value| value.to_string()).expect_err(text);
                // Our words for values of a wrong type are not Go's.
                let is_type = wanted.starts_with("interface");
                assert!(why.starts_with(wanted) || is_type, "{text}: {why}, not {wanted}");
            }
            (_, other) => panic!("{row}: {:?}", other.map(|program| program.result)),
        }
    }
    assert!(kinds[0] > 150 && kinds[1] > 40 && kinds[2] > 10, "{kinds:?}");
}

#[test]
fn what_is_not_served_is_said() {
    for text in ["{a: 1}", "name().x", "now()", "fromJSON('1')", "$env", "keys([1])", "true ?: 1"] {
        let why = Program::compile(text, &scope()).map(|_| ()).expect_err(text);
        assert!(why.message.contains("is not served in expressions"), "{text}: {}", why.message);
    }
    for name in ["len", "any", "groupBy", "true", "not", "matches"] {
        assert!(is_reserved(name), "{name}");
    }
    assert!(!is_reserved("ip"));
}

#[test]
fn variables_have_types() {
    let mut scope = scope();
    scope.add("a", Type::Text);
    scope.add("b", Type::Int);
    let program = Program::compile("b + 1", &scope).expect("an expression");
    assert_eq!(program.run(&Query).expect("a value"), Value::Int(2));
    let why = Program::compile("a + 1", &scope).map(|_| ()).expect_err("types");
    assert_eq!(why.message, "invalid operation: + (mismatched types string and int)");
    assert!(Program::compile("let b = 1; b", &scope).is_err());
}

/// A list of two equal lists of two equal lists …: two to the power of thirty elements, made of
/// thirty short lists.
fn doubled(last: &str) -> String {
    let lists: String = (1..=30).map(|n| format!("let x{n} = [x{0}, x{0}]; ", n - 1)).collect();
    format!("let x0 = [name(), name()]; {lists}{last}")
}

#[test]
fn no_expression_takes_long() {
    let most = i64::from(MAX_COST);
    for text in [
        format!("len(1..{most})"),
        "any(1..9000, any(1..9000, # == 0))".to_owned(),
        "len(repeat('x', 9000000000000))".to_owned(),
        "len(reduce(1..200, #acc + #acc, 'xxxxxxxx'))".to_owned(),
        "len(replace(repeat('x', 9000), 'x', repeat('y', 9000)))".to_owned(),
        "len(uniq(1..9000))".to_owned(),
        "none(1..9000, name() matches repeat('(a|b)', 100))".to_owned(),
        doubled("len(string(x30))"),
        doubled("x30 == x30"),
        doubled("x30 in [x30]"),
        doubled("len(uniq([x30, x30]))"),
        doubled("x30"),
    ] {
        assert_eq!(value(&text).expect_err(&text), "the expression costs too much", "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    assert_eq!(value("len(reduce(1..9000, [#acc]))").map(|_| ()), Err("lists are nested too deep".to_owned()));
    assert!(value("len(reduce(1..100, [#acc]))").is_ok());
    let depth = usize::from(MAX_DEPTH);
    let wrapped = |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
    assert!(value(&wrapped("(", ")", depth / 2)).is_ok());
    for text in [
        wrapped("(", ")", 4000),
        wrapped("[", "]", 4000),
        wrapped("-", "", 9000),
        wrapped("", " + 1", 2000),
        wrapped("", "[0]", 2000),
        wrapped("", " | abs()", 1000),
        wrapped("true ? 1 : ", "", 900),
        format!("if true {{1}} {} else {{1}}", "else if true {1}".repeat(500)),
        "let a = 1; ".repeat(800) + "1",
    ] {
        let why = Program::compile(&text, &scope()).map(|_| ()).expect_err("too deep");
        let is_bounded = why.message.contains("are nested") || why.message.contains("cannot redeclare");
        assert!(is_bounded, "{}: {}", &text[..20], why.message);
    }
}

//! Runs seeds and says what was found: `sim --seeds 300 --from 1 [--events N] [--verbose]
//! [--first] [--replay SEED] [--fan-out K] [--break RULE]`, where RULE is a rule of the shells that is broken on purpose.

use berth_sim::{Breach, Options, Tally, run_seed};
use std::io::{self, Write};
use std::process::ExitCode;

/// How many of the last events are shown for a seed with a violation.
const SHOWN: usize = 25;

struct Settings {
    seeds: u64,
    from: u64,
    verbose: bool,
    /// Stop at the first seed with a violation.
    first: bool,
    replay: Option<u64>,
    options: Options,
}

fn settings() -> Result<Settings, String> {
    let mut settings = Settings {
        seeds: 300,
        from: 1,
        verbose: false,
        first: false,
        replay: None,
        options: Options::default(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--break" {
            let name = words.next().unwrap_or_default();
            let breach = Breach::named(&name);
            let known = Breach::ALL.map(|breach| format!("{breach:?}")).join(", ");
            settings.options.breach =
                Some(breach.ok_or_else(|| format!("--break {name}: give one of {known}"))?);
            continue;
        }
        let mut number = || {
            let text = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            text.parse::<u64>().map_err(|e| format!("{word} {text}: {e}"))
        };
        match word.as_str() {
            "--seeds" => settings.seeds = number()?,
            "--from" => settings.from = number()?,
            "--events" => settings.options.events = number()?,
            "--replay" => settings.replay = Some(number()?),
            "--fan-out" => {
                let most = u64::from(berth_master_core::FAN_OUT_MAX);
                let fan_out = number().map(|fan_out| fan_out.clamp(1, most))?;
                settings.options.fan_out = u32::try_from(fan_out).ok();
            },
            "--verbose" => settings.verbose = true,
            "--first" => settings.first = true,
            _ => {
                return Err(format!(
                    "{word} is unknown: sim [--seeds N] [--from S] [--events E] [--verbose] [--first] [--replay SEED] [--fan-out K] [--break RULE]"
                ));
            },
        }
    }
    Ok(settings)
}

fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let outcome = settings().map_err(io::Error::other).and_then(|settings| match settings.replay {
        Some(seed) => replay(&mut out, seed, &settings.options),
        None => run(&mut out, &settings),
    });
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to do when standard error is gone as well.
            drop(writeln!(io::stderr(), "sim: {error}"));
            ExitCode::from(2)
        },
    }
}

fn replay(out: &mut impl Write, seed: u64, options: &Options) -> io::Result<u64> {
    let outcome = run_seed(seed, &Options { trace: true, ..options.clone() });
    for line in &outcome.trace {
        writeln!(out, "{line}")?;
    }
    for violation in &outcome.violations {
        writeln!(out, "{}: {}", violation.rule, violation.text)?;
    }
    let found = outcome.violations.len() as u64;
    writeln!(out, "seeds 1 events {} violations {found}", outcome.events)?;
    Ok(found)
}

fn run(out: &mut impl Write, settings: &Settings) -> io::Result<u64> {
    let (mut seeds, mut events, mut found) = (0, 0, 0);
    let mut tally = Tally::default();
    for seed in settings.from..settings.from.saturating_add(settings.seeds) {
        let outcome = run_seed(seed, &settings.options);
        seeds += 1;
        events += outcome.events;
        tally.add(&outcome.tally);
        if settings.verbose {
            writeln!(out, "seed {seed}: {} events", outcome.events)?;
        }
        if outcome.violations.is_empty() {
            continue;
        }
        found += 1;
        let again = run_seed(seed, &Options { trace: true, ..settings.options.clone() });
        let first = again.trace.len().saturating_sub(SHOWN);
        for line in again.trace.iter().skip(first) {
            writeln!(out, "  {}", shortened(line))?;
        }
        for violation in &outcome.violations {
            writeln!(out, "seed {seed}: {}: {}", violation.rule, violation.text)?;
        }
        if settings.first {
            break;
        }
    }
    if settings.verbose {
        for line in tally.lines() {
            writeln!(out, "{line}")?;
        }
    }
    writeln!(out, "seeds {seeds} events {events} violations {found}")?;
    Ok(found)
}

fn shortened(line: &str) -> String {
    const LONGEST: usize = 400;
    if line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    line.chars().take(LONGEST).chain("…".chars()).collect()
}

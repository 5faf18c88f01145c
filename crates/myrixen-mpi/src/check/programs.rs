//! Programs that none of us wrote, as Debian has them: NetPIPE, HPCC, LAMMPS.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use myrixen_mpi::{Job, Over};

use super::cases::{Bench, Case, Need};
use super::stage::Layout;

const MPIRUN: Need = Need::Program("mpirun", "openmpi-bin");
const NETPIPE: [Need; 2] = [MPIRUN, Need::Program("NPopenmpi", "netpipe-openmpi")];
pub(super) const HPCC: [Need; 2] = [MPIRUN, Need::Program("hpcc", "hpcc")];
const LAMMPS: [Need; 3] = [
    MPIRUN,
    Need::Program("lmp", "lammps"),
    Need::File(MELT, "lammps-examples"),
];
const MELT: &str = "/usr/share/lammps/examples/melt/in.melt";

const LAYOUTS: [Layout; 3] = [Layout::One, Layout::Two, Layout::Four];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for layout in [Layout::One, Layout::Two] {
        let name = format!("{}/netpipe", layout.name());
        cases.push(Case::new(name, &NETPIPE, move |bench| {
            netpipe(bench, layout)
        }));
    }
    for layout in LAYOUTS {
        let name = format!("{}/hpcc", layout.name());
        cases.push(Case::new(name, &HPCC, move |bench| {
            let hpcc = Hpcc::new(bench, layout, if bench.full { 2000 } else { 600 })?;
            let limit = if bench.full { 600 } else { 120 };
            bench.stage.run(layout, &hpcc.job, limit)?;
            hpcc.judge()
        }));
    }
    for layout in LAYOUTS {
        let name = format!("{}/lammps", layout.name());
        cases.push(Case::new(name, &LAMMPS, move |bench| lammps(bench, layout)));
    }
    cases
}

/// Its whole sweep of sizes, every byte checked.
fn netpipe(bench: &mut Bench<'_, '_>, layout: Layout) -> anyhow::Result<String> {
    let out = bench.stage.folder().join("np.out");
    let job = bench.stage.job(layout, "NPopenmpi");
    let job = job
        .args(["-i", "-n", "10", "-u", "8388608", "-o"])
        .args([out.display().to_string()]);
    let said = bench.stage.run(layout, &job, 90)?;
    let passed = said.matches("Integrity check passed").count();
    ensure!(
        passed >= 40 && !said.contains("ailed"),
        "{passed} sizes passed\n{said}"
    );
    Ok(format!("{passed} sizes"))
}

/// A run of HPCC, in a folder of its own.
pub(super) struct Hpcc {
    pub(super) job: Job,
    folder: PathBuf,
}

impl Hpcc {
    /// With matrices of `n` rows.
    pub(super) fn new(bench: &Bench<'_, '_>, layout: Layout, n: u32) -> anyhow::Result<Self> {
        let folder = bench.stage.folder().join(format!("hpcc-{}", layout.name()));
        // Of an earlier run: it appends to its output.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let grid = if layout == Layout::Four {
            (2, 2)
        } else {
            (1, 2)
        };
        fs::write(folder.join("hpccinf.txt"), input(n, grid))?;
        let job = bench.stage.job(layout, "hpcc").within(&folder);
        Ok(Self { job, folder })
    }

    /// Whether it says `Success=1`, of the grid that it was given; and some of its figures.
    pub(super) fn judge(&self) -> anyhow::Result<String> {
        let file = self.folder.join("hpccoutf.txt");
        let text = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
        let end = text.lines().rev().take(300).collect::<Vec<_>>();
        ensure!(
            end.contains(&"Success=1"),
            "HPCC does not say Success=1:\n{text}"
        );
        ensure!(!text.contains("FAILED"), "a check of HPCC failed:\n{text}");
        let value = |name: &str| {
            let line = end
                .iter()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or("?").to_owned()
        };
        let us = value("MaxPingPongLatency_usec");
        Ok(format!(
            "Success=1, N={}, ping-pong at most {us} us",
            value("HPL_N")
        ))
    }
}

/// HPCC's file of settings: it goes by the lines' numbers, and takes the first words of each.
fn input(n: u32, (p, q): (u32, u32)) -> String {
    format!(
        "HPCC\nof MyriXen's tests\nHPL.out file\n8 device\n1 sizes\n{n} N\n1 blockings\n40 NB\n0 rows first\n1 grids\n{p} P\n{q} Q\n16.0 threshold\n\
         1 panel factorisations\n2 right\n1 ends of recursion\n4 columns\n1 divisions\n2 panels\n1 recursive factorisations\n1 Crout\n\
         1 broadcasts\n1 modified ring\n1 depths\n1 lookahead\n2 mixed swapping\n64 threshold\n0 L1 transposed\n0 U transposed\n1 equilibrated\n\
         8 alignment\n-\n0 more sizes for PTRANS\n1200\n0 more blockings for PTRANS\n40\n"
    )
}

/// A melt of 4000 atoms: what it says of energy and pressure is what a run on one processor says.
fn lammps(bench: &mut Bench<'_, '_>, layout: Layout) -> anyhow::Result<String> {
    let folder = bench.stage.folder().join("lammps");
    fs::create_dir_all(&folder)?;
    let words = ["-in", MELT, "-log", "none"];
    let serial = Job::new(Over::Ob1("lo".to_owned()), "lmp")
        .args(words)
        .within(&folder);
    let serial = serial.run(bench.stage.places(Layout::One), Duration::from_secs(60))?;
    ensure!(serial.well, "alone: {}\n{}", serial.how, serial.said);
    let job = bench
        .stage
        .job(layout, "lmp")
        .args(words)
        .within(Path::new(&folder));
    let parallel = bench.stage.run(layout, &job, 90)?;
    let (wanted, got) = (thermodynamics(&serial.said), thermodynamics(&parallel));
    ensure!(wanted.len() == 6, "no table of energies:\n{}", serial.said);
    ensure!(wanted == got, "alone: {wanted:#?}\nhere: {got:#?}");
    Ok(got.last().cloned().unwrap_or_default())
}

/// The lines of the table "Step Temp E_pair ...", their blanks made single.
fn thermodynamics(said: &str) -> Vec<String> {
    let lines = said
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let table = lines.skip_while(|line| !line.starts_with("Step Temp"));
    let rows = table
        .skip(1)
        .take_while(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::thermodynamics;

    #[test]
    fn the_table_of_lammps_is_found() {
        let said =
            "LAMMPS\nStep Temp E_pair\n   0     3  -6.7\n  50  1.6   -4.7\nLoop time of 0.5\n";
        assert_eq!(thermodynamics(said), ["0 3 -6.7", "50 1.6 -4.7"]);
    }
}

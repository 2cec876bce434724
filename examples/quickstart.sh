#!/usr/bin/env bash
# From nothing to a trained protein language model, embeddings and a picture, in under ten minutes on two cores.
#
# usage: examples/quickstart.sh [--output FOLDER] [--minutes N] [proteins.fasta[.gz|.zst|.xz|.bz2]]
#   proteins.fasta   what to train on; without it, 20,000 proteins of UniProt that come with Debian's mmseqs2-examples
#   --output FOLDER  where everything goes (quickstart/ in the project's folder)
#   --minutes N      time for training (3)
#
# It installs what is missing (cmake/install-deps.sh), builds the example drivers, prepares a token store with a
# held-out part, trains a small BERT on two MPI ranks, embeds held-out proteins and draws the amino acids as the model
# sees them. Run again, it installs and builds nothing twice and trains anew; the model of before is kept beside it.
set -euo pipefail

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }
say() { printf '\n== %s\n' "$*"; }
die() {
    printf 'quickstart: %s\n' "$*" >&2
    exit 1
}

root=$(cd "$(dirname "$0")/.." && pwd)
output=$root/quickstart minutes=3 proteins=''
while [ $# -gt 0 ]; do
    case $1 in
    --output | --minutes)
        [ $# -ge 2 ] || die "$1 needs a value (see --help)"
        if [ "$1" = --output ]; then output=$2; else minutes=$2; fi
        shift
        ;;
    -h | --help)
        usage
        exit
        ;;
    -*) die "unknown option $1 (see --help)" ;;
    *)
        [ -z "$proteins" ] || die "one file of proteins, please (see --help)"
        proteins=$1
        ;;
    esac
    shift
done
[ -z "$proteins" ] || [ -r "$proteins" ] || die "cannot read $proteins"
[ -z "$proteins" ] || proteins=$(realpath "$proteins")
mkdir -p "$output"
output=$(cd "$output" && pwd)
bin=$root/build/release/examples
started=$SECONDS

# ---- install and build ----------------------------------------------------------------------------------------------

say "Installing what is missing"
"$root/cmake/install-deps.sh" --quickstart

say "Building the example drivers"
if [ -z "${CMAKE_GENERATOR:-}" ] && command -v ninja >/dev/null; then
    export CMAKE_GENERATOR=Ninja
fi
(
    cd "$root"
    if [ ! -f build/release/CMakeCache.txt ]; then
        # Tests and benchmarks are not needed here; tests/run.sh switches them on.
        cmake --preset release -DPROTLM_TESTS=OFF -DPROTLM_BENCHMARKS=OFF
    else
        cmake --preset release
    fi >"$output/build.log" 2>&1 || { cat "$output/build.log" >&2; die "cmake failed"; }
    cmake --build --preset release --target protlm_example_prepare protlm_example_pretrain_bert \
        protlm_example_embed protlm_example_amino_acid_map -j "$(nproc)"
)

if [ -z "$proteins" ]; then
    proteins=$(dpkg -L mmseqs2-examples | grep '/DB\.fasta\.gz$') || die "mmseqs2-examples has no DB.fasta.gz"
fi

# ---- two ranks of one thread each -----------------------------------------------------------------------------------

export OMP_NUM_THREADS=1 OMP_PROC_BIND=false
if [ "$(id -u)" -eq 0 ]; then # Open MPI asks twice
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# Containers often forbid copies between processes; without them Open MPI copies through shared memory.
export OMPI_MCA_btl_vader_single_copy_mechanism=none
mpi=(mpirun -n 2)
if mpirun --version | grep -q 'Open MPI\|OpenRTE\|PRRTE'; then
    mpi+=(--oversubscribe --bind-to none)
fi

# ---- from FASTA to a picture ----------------------------------------------------------------------------------------

cd "$output"
say "Preparing the proteins of $proteins"
"$bin/prepare" "$proteins" --output proteins.store --deduplicate --held-out 0.05 --write-held-out held_out.fasta \
    --invalid mask --force

[ -s held_out.fasta ] || die "$proteins is too small: no protein of it was held out"

if [ -e run ]; then # an earlier model, which may have taken long
    number=1
    while [ -e "run.before-$number" ]; do number=$((number + 1)); done
    mv run "run.before-$number"
    say "The model that was in $output/run is in run.before-$number now"
fi
say "Training a small BERT for $minutes minutes on two ranks"
"${mpi[@]}" "$bin/pretrain_bert" --data proteins.store --output run \
    --config "$root/examples/configs/bert_quickstart.json" --minutes "$minutes" | tee training.txt

awk '/^>/ && ++count > 500 { exit } { print }' held_out.fasta >held_out_500.fasta
say "Embedding $(grep -c '^>' held_out_500.fasta) held-out proteins"
"${mpi[@]}" "$bin/embed" --model run --output embeddings.h5 --force held_out_500.fasta

say "Drawing the amino acids"
"$bin/amino_acid_map" --force --model run --output amino_acids --title "Amino acids as a model of $minutes minutes sees them"

# ---- what came of it ------------------------------------------------------------------------------------------------

checkpoint=$(find run -maxdepth 1 -name 'step-*' -type d | sort | tail -n 1)
say "Done in $(((SECONDS - started + 30) / 60)) minutes"
grep 'held-out perplexity' training.txt || true
cat <<TEXT
(Perplexity: between how many amino acids the model wavers. Unigram: one that knows nothing but their frequencies.
A model of 85,000 weights and a few minutes shows how all of it works; its vectors are no match for a released model's.)

In $output:
  $checkpoint/       the model, as Hugging Face's transformers loads it
  run/log.jsonl            loss, accuracy and speed of every step
  embeddings.h5            proteins that the model has not seen: one vector a protein and one a residue
  amino_acids.png          its 20 amino acids in two dimensions; amino_acids.tsv has the numbers
  proteins.store           the training data

What to try next:
  python3 -c "import h5py; f = h5py.File('$output/embeddings.h5'); print(f['ids'][0], f['proteins'][0])"
  $bin/embed --model $output/run --output mine.h5 mine.fasta
  examples/quickstart.sh --minutes 30      a better model: watch the perplexity fall
  $bin/pretrain_bert --help
                                           larger models, on any number of ranks
  examples/vendoring/                      embeddings inside a C++ program of your own
TEXT

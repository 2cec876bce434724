#!/usr/bin/env bash
# Trains all six models, the size of a quickstart, on the same proteins, one after the other on two MPI ranks, and draws
# their curves: the runs of docs/results.md.
#
# usage: examples/train_all.sh [--output FOLDER] [--minutes N] [--models "bert t5 ..."] [proteins.fasta[.gz|.zst]]
#   proteins.fasta   what to train on; without it, 20,000 proteins of UniProt that come with Debian's mmseqs2-examples
#   --output FOLDER  where everything goes (training/ in the project's folder)
#   --minutes N      time for each model (5)
#   --models LIST    some of bert albert electra t5 xlnet transformer_xl; all of them without it
#
# Needs the example drivers in build/release/examples/ and gnuplot for the picture. FOLDER/results.md is the table,
# FOLDER/training_curves.png the picture. A model whose run is complete is not trained again.
set -euo pipefail

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }
say() { printf '\n== %s\n' "$*"; }
die() {
    printf 'train_all: %s\n' "$*" >&2
    exit 1
}

root=$(cd "$(dirname "$0")/.." && pwd)
output=$root/training minutes=5 models='bert albert electra t5 xlnet transformer_xl' proteins=''
while [ $# -gt 0 ]; do
    case $1 in
    --output | --minutes | --models)
        [ $# -ge 2 ] || die "$1 needs a value (see --help)"
        printf -v "${1#--}" %s "$2"
        shift
        ;;
    -h | --help)
        usage
        exit
        ;;
    -*) die "unknown option $1 (see --help)" ;;
    *) proteins=$1 ;;
    esac
    shift
done
bin=${PROTLM_EXAMPLES:-$root/build/release/examples}
[ -x "$bin/prepare" ] || die "no programs in $bin: cmake --preset release && cmake --build --preset release"
mkdir -p "$output"
output=$(cd "$output" && pwd)
if [ -z "$proteins" ]; then
    proteins=$(dpkg -L mmseqs2-examples | grep '/DB\.fasta\.gz$') || die "mmseqs2-examples has no DB.fasta.gz"
fi

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

# ---- train ----------------------------------------------------------------------------------------------------------

if [ ! -e "$output/proteins.store" ]; then
    say "Preparing the proteins of $proteins"
    "$bin/prepare" "$proteins" --output "$output/proteins.store" --deduplicate --held-out 0.05 --invalid mask
fi
for model in $models; do
    if [ ! -e "$output/$model.txt" ]; then
        say "Training $model for $minutes minutes on two ranks"
        rm -rf "${output:?}/$model"
        "${mpi[@]}" "$bin/pretrain_$model" --data "$output/proteins.store" --output "$output/$model" \
            --config "$root/examples/configs/${model}_quickstart.json" --minutes "$minutes" --evaluate-every 250 |
            tee "$output/$model.partial"
        mv "$output/$model.partial" "$output/$model.txt"
    fi
done

# ---- the table and the curves ---------------------------------------------------------------------------------------

# Prints the named numbers of each line of a log that has all of them.
columns() {
    local log=$1
    shift
    awk -v names="$*" 'BEGIN { n = split(names, name, " ") }
        { line = ""
          for (i = 1; i <= n; ++i) {
              if (!match($0, "\"" name[i] "\":[-+0-9.eE]+")) next
              line = line substr($0, RSTART + length(name[i]) + 3, RLENGTH - length(name[i]) - 3) " "
          }
          print line }' "$log"
}

say "Drawing the curves"
{
    printf '| model | parameters | steps | tokens | held-out perplexity | of a unigram model | right |\n'
    printf '|---|---:|---:|---:|---:|---:|---:|\n'
    for model in $models; do
        read -r perplexity unigram accuracy < <(
            columns "$output/$model/log.jsonl" held_out_perplexity unigram_perplexity held_out_accuracy | tail -n 1)
        majority=$(columns "$output/$model/log.jsonl" held_out_majority | tail -n 1)
        awk -v model="$model" -v p="$perplexity" -v u="$unigram" -v a="$accuracy" -v m="$majority" '
            / steps, / { parameters = $0; sub(/.*; /, "", parameters); sub(/ parameters.*/, "", parameters)
                         tokens = $0; sub(/^[0-9]+ steps, /, "", tokens); sub(/ tokens.*/, "", tokens); steps = $1 }
            END { right = sprintf("%.2f %%", 100 * a)
                  if (m != "") right = right sprintf(" (always the commoner answer: %.2f %%)", 100 * m)
                  printf "| %s | %s | %s | %s | %.2f | %.2f | %s |\n", model, parameters, steps, tokens, p, u,
                         right }' "$output/$model.txt"
    done
} | tee "$output/results.md"

for model in $models; do
    # Single steps are noisy: the mean of 20.
    columns "$output/$model/log.jsonl" seconds loss |
        awk '{ sum += $2; if (++n == 20) { print $1 / 60, sum / n; sum = n = 0 } }' >"$output/$model.loss"
    columns "$output/$model/log.jsonl" seconds held_out_perplexity unigram_perplexity |
        awk '{ print $1 / 60, log($2), log($3) }' >"$output/$model.held_out"
done
[ ! -e "$output/electra/log.jsonl" ] || columns "$output/electra/log.jsonl" seconds held_out_accuracy held_out_majority |
    awk '{ print $1 / 60, 100 * $2, 100 * $3 }' >"$output/electra.held_out"

panel() { # model
    case $1 in
    bert) echo "set title 'BERT: masked residues'" ;;
    albert) echo "set title 'ALBERT: masked residues'" ;;
    t5) echo "set title 'T5: hidden residues (training: all)'" ;;
    xlnet) echo "set title 'XLNet: residues in random order'" ;;
    transformer_xl) echo "set title 'Transformer-XL: next residues'" ;;
    electra) echo "set title 'ELECTRA: replaced or original?'" ;;
    esac
    if [ "$1" = electra ]; then
        echo "plot '$output/$1.held_out' using 1:2 with linespoints pt 7 ps 0.7 lw 2 lc rgb '#0072B2' title 'held out'," \
            "'' using 1:3 with lines dt 2 lw 2 lc rgb '#D55E00' title 'always the commoner answer'"
    else
        echo "plot '$output/$1.loss' using 1:2 with lines lw 1.5 lc rgb '#999999' title 'training'," \
            "'$output/$1.held_out' using 1:2 with linespoints pt 7 ps 0.7 lw 2 lc rgb '#0072B2' title 'held out'," \
            "'' using 1:3 with lines dt 2 lw 2 lc rgb '#D55E00' title 'unigram'"
    fi
}
{
    echo "set terminal pngcairo size 1500,900 font 'sans,13'"
    echo "set output '$output/training_curves.png'"
    echo "set multiplot layout 2,3"
    echo "set grid lc rgb '#E0E0E0' lt 1; set border lc rgb '#808080'; set tics textcolor rgb '#404040'"
    echo "set xlabel 'minutes on two cores'; set xrange [0:$minutes]"
    for model in $models; do
        if [ "$model" = electra ]; then
            echo "set ylabel 'accuracy, %'; set key top left Left reverse samplen 2; set yrange [*:*]; set offsets 0, 0, graph 0.4, graph 0.1"
        else # one range for all, which the first steps of a training are above
            echo "set ylabel 'loss, nats a residue'; set key top right Right noreverse samplen 4; set yrange [2.6:3.1]; set offsets 0, 0, 0, 0"
        fi
        panel "$model"
    done
    echo "unset multiplot"
} >"$output/training_curves.gp"
gnuplot "$output/training_curves.gp"
echo "$output/results.md and $output/training_curves.png"

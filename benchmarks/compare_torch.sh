#!/usr/bin/env bash
# Compares protlm with PyTorch on this machine in one run: training and embedding on a real mix of protein lengths, on
# all cores, in float; and protlm's bfloat16 with its own float. About 20 minutes on two cores; TASKS="embed bfloat16"
# ROUNDS=1 about 8.
#
#   benchmarks/compare_torch.sh [python]      python: one that has torch and transformers (default: python3)
#
# Settings by environment: FASTA (proteins whose lengths are taken; default: Debian's mmseqs2-examples, else a built-in
# mix), MODELS ("small medium protbert prott5"), TASKS ("train embed bfloat16"; training of small and medium only),
# ROUNDS (2: protlm is timed before and after each PyTorch run), THREADS (all cores). The wide models have few of their
# layers on both sides, which are all alike: 6 of protbert, 2 of prott5's encoder. An otherwise idle machine is assumed.
# Ends with one line a figure:
#   ratio MODEL TASK X.XX        tokens/s of protlm over the better of PyTorch plain and compiled
#   share MODEL TASK 0.XX        of the machine's own peak of matrix products in float
#   bfloat16 MODEL embed X.XX    tokens/s with weights of bfloat16 over those of float
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
python=${1:-python3}
models=${MODELS:-small medium protbert prott5}
tasks=${TASKS:-train embed bfloat16}
rounds=${ROUNDS:-2}
threads=${THREADS:-$(nproc)}

if ! "$python" -c 'import torch, transformers' 2>/dev/null; then
    echo "compare_torch.sh: $python has no torch and transformers. Make an environment and name its python:" >&2
    echo "  python3 -m venv torch-venv && torch-venv/bin/pip install torch transformers" >&2
    echo "  benchmarks/compare_torch.sh torch-venv/bin/python" >&2
    exit 1
fi

cmake --preset release -S "$root" >/dev/null
cmake --build "$root/build/release" --target protlm_benchmark_step >/dev/null
step=$root/build/release/benchmarks/step

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fasta=${FASTA:-$(dpkg -L mmseqs2-examples 2>/dev/null | grep 'DB.fasta.gz$' || true)}
lengths=$work/lengths
case "$fasta" in
    *.gz) gzip -dc "$fasta" ;;
    *.xz) xz -dc "$fasta" ;;
    *.zst) zstd -dc "$fasta" ;;
    "") : ;;
    *) cat "$fasta" ;;
esac | awk '/^>/ { if (n) print n; n = 0; next } { n += length($0) } END { if (n) print n }' > "$work/all"
if [ -s "$work/all" ]; then
    shuf --random-source=<(yes) "$work/all" > "$lengths"
else
    echo "no FASTA file found: lengths are drawn from a log-normal mix" >&2
    awk 'BEGIN { srand(1); for (i = 0; i < 20000; i++) { x = 0; for (j = 0; j < 12; j++) x += rand();
         n = int(300 * exp(0.75 * (x - 6))); print (n < 20 ? 20 : n > 8000 ? 8000 : n) } }' > "$lengths"
fi

# tokens of one run: a few seconds to half a minute each
tokens() {
    case "$1 $2" in
        "small train") echo 60000 ;;
        "small "*) echo 80000 ;;
        "medium train") echo 25000 ;;
        "medium "*) echo 30000 ;;
        *) echo 10000 ;;
    esac
}
# layers of the wide models, on both sides
layers() {
    case "$1" in
        protbert) echo 6 ;;
        prott5) echo 2 ;;
        *) echo 0 ;;
    esac
}

# prints "tokens_per_second share"
ours() {
    local preset=bert_$1
    [ "$1" != protbert ] || preset=protbert
    [ "$1" != prott5 ] || preset=prott5_xl
    OMP_NUM_THREADS=$threads OMP_PROC_BIND=false "$step" --lengths "$lengths" --tokens "$3" --models "$preset" \
        --layers "$(layers "$1")" --benchmark_filter="^$2/$preset/" --benchmark_format=json 2>/dev/null |
        "$python" -c 'import json, sys; b = json.load(sys.stdin)["benchmarks"][0]; print(b["tokens_per_second"], b["share"])'
}
theirs() {
    "$python" "$here/torch_baseline.py" "$lengths" "$1" "$2" "$3" "$threads" "$(layers "$1")" ${4:-} 2>/dev/null |
        awk '$1 == "tokens_per_second" { print $2 }'
}
median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

echo "machine: $(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo), $threads threads"
"$python" -c 'import torch, transformers; print("PyTorch", torch.__version__, "transformers", transformers.__version__)'
has() { [[ " $2 " == *" $1 "* ]]; }
: > "$work/figures"
for model in $models; do
    for task in train embed; do
        has "$task" "$tasks" || continue
        [ "$task" = embed ] || has "$model" "small medium" || continue
        n=$(tokens "$model" "$task")
        for part in ours bfloat16 plain compiled; do : > "$work/$part"; done
        for round in $(seq "$rounds"); do
            for turn in before after; do
                ours "$model" "$task" "$n" >> "$work/ours"
                if [ "$task" = embed ] && has bfloat16 "$tasks"; then
                    ours "$model" bfloat16 "$n" >> "$work/bfloat16"
                fi
                [ "$turn" = after ] || theirs "$model" "$task" "$n" >> "$work/plain"
            done
            [ "$round" -gt 1 ] || theirs "$model" "$task" "$n" compile >> "$work/compiled" || true
        done
        speed=$(cut -d' ' -f1 "$work/ours" | median)
        share=$(cut -d' ' -f2 "$work/ours" | median)
        half=$(cut -d' ' -f1 "$work/bfloat16" | median)
        plain=$(median < "$work/plain")
        compiled=$(median < "$work/compiled")
        printf '%s %s, %s tokens: protlm %.0f tokens/s (bfloat16 %.0f), PyTorch %.0f plain, %.0f compiled\n' \
            "$model" "$task" "$n" "$speed" "${half:-0}" "$plain" "${compiled:-0}"
        awk -v a="$speed" -v b="$plain" -v c="${compiled:-0}" -v n="$model $task" -v s="$share" -v h="${half:-0}" \
            'BEGIN { printf "ratio %s %.2f\nshare %s %.2f\n", n, a / (b > c ? b : c), n, s
                     if (h > 0) printf "bfloat16 %s %.2f\n", n, h / a }' >> "$work/figures"
    done
done
echo
cat "$work/figures"

# Makes a guide fit for Doxygen, which runs this for each (see Doxyfile): headings get the anchors that links use on the
# web, with the guide's name before them because all guides share one site; links that leave the site become text.
BEGIN { guide = "" }
guide == "" {
    guide = tolower(FILENAME)
    sub(/.*\//, "", guide)
    sub(/\.md$/, "", guide)
}
/^```/ { code = !code }
code || /^    / { print; next }
/^# / { $0 = $0 " {#" guide "}" }
/^###* / {
    anchor = tolower($0)
    sub(/^##* */, "", anchor)
    gsub(/[^a-z0-9 _-]/, "", anchor)
    gsub(/ /, "-", anchor)
    $0 = $0 " {#" guide "-" anchor "}"
}
{
    gsub(/\]\(#/, "](#" guide "-")
    line = ""
    while (match($0, /[a-z]*\.md#/)) {
        name = substr($0, RSTART, RLENGTH - 4)
        line = line substr($0, 1, RSTART + RLENGTH - 1) name "-"
        $0 = substr($0, RSTART + RLENGTH)
    }
    $0 = line $0
    while (match($0, /\]\((\.\.\/(tests|examples|include)\/[^)]*|LICENSE)\)/)) {
        text = substr($0, 1, RSTART - 1)
        rest = substr($0, RSTART + RLENGTH)
        at = match(text, /\[[^[]*$/)
        $0 = substr(text, 1, at - 1) substr(text, at + 1) rest
    }
    print
}

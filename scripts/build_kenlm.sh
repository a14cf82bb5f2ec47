#!/bin/sh
# Build lmplz and build_binary of kenlm 0.3 into a folder:  scripts/build_kenlm.sh FOLDER
# Then CURATE_KENLM=FOLDER lets `train_lm` use them (estimator: lmplz; files_too: [binary]). curate needs neither.
set -eu

version=0.3.0
sha256=c4628bb9fb63c8a6f9240035b8b037385cfc404cb72e933cf48878291edac1e8
folder=${1:-}
python=${PYTHON:-python3}
if [ -z "$folder" ]; then
    echo "usage: scripts/build_kenlm.sh FOLDER" >&2
    exit 2
fi
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

missing=
command -v c++ >/dev/null || command -v g++ >/dev/null || missing="$missing g++"
command -v cmake >/dev/null || missing="$missing cmake"
command -v make >/dev/null || missing="$missing make"
"$python" -m pip --version >/dev/null 2>&1 || missing="$missing python3-pip"
# What each Boost package is asked for: its header.
for pair in program-options:program_options.hpp thread:thread.hpp system:system/error_code.hpp test:test/unit_test.hpp; do
    name=libboost-${pair%%:*}-dev
    found=
    for place in ${BOOST_ROOT:+"$BOOST_ROOT/include"} /usr/include /usr/local/include /opt/homebrew/include; do
        [ -f "$place/boost/${pair#*:}" ] && found=yes
    done
    [ -n "$found" ] || missing="$missing $name"
done
if [ -n "$missing" ]; then
    echo "build_kenlm.sh: these are missing:$missing" >&2
    echo "on Debian or Ubuntu: apt-get install$missing" >&2
    echo "elsewhere: a C++ compiler, cmake, make and Boost's development files (BOOST_ROOT says where they are)" >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The wheel that pip would make of it is not wanted, only the source.
"$python" -m pip download --quiet --no-deps --no-binary kenlm --dest "$work" "kenlm==$version"
echo "$sha256  $work/kenlm-$version.tar.gz" | sha256sum --check --quiet -
tar -xzf "$work/kenlm-$version.tar.gz" -C "$work"
mkdir "$work/build"
cd "$work/build"
if ! { cmake "../kenlm-$version" -DCMAKE_BUILD_TYPE=Release && make -j "${JOBS:-2}" lmplz build_binary; } >log 2>&1; then
    tail -n 20 log >&2
    echo "build_kenlm.sh: the build failed" >&2
    exit 1
fi
cp bin/lmplz bin/build_binary "$folder/"
echo "built $folder/lmplz and $folder/build_binary"

#!/bin/sh
# Installs what Loupe needs from the distribution's packages. README and CI share this list.
#   sh setup.sh         build, data, tests
#   sh setup.sh full    and what the full tests need: the distribution's clang, sanitizers, a browser, the other OpenBLAS,
#                       pkg-config, what makes a .deb, the reference, the guide's page, MPI
#   sh setup.sh web     and what makes the live lesson's page (web/): emscripten, 0.8 GB
set -e
packages="g++ cmake make ninja-build ccache libopenblas-dev libfmt-dev catch2 zlib1g-dev libssl-dev libcli11-dev nlohmann-json3-dev
  libprotozero-dev dataset-fashion-mnist wamerican"
if [ "$1" = full ]; then
  packages="$packages clang clang-format clang-tidy libclang-rt-dev libopenblas0-openmp python3 pkgconf dpkg-dev file doxygen
    libopenmpi-dev openmpi-bin cmark-gfm"
  # Ubuntu has no package of the browser: the tests of the lesson's page are skipped there.
  grep -q '^ID=ubuntu' /etc/os-release || packages="$packages chromium chromium-driver"
fi
if [ "$1" = web ]; then
  packages="$packages emscripten python3"
fi
missing=""
for p in $packages; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
run=""
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "setup.sh: needs root or sudo to install:$missing" >&2; exit 1; }
  run="sudo"
fi
$run apt-get update
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $run apt-get install -y --no-install-recommends $missing

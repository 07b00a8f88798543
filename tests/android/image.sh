# How the images of these tests are made, from Debian's packages and a few files: sourced, never run.
#
#   recipe FILE…                     hash of what an image is made from
#   made IMAGE RECIPE                whether it is there
#   link DIRECTORY                   one script under the names of all that it stands for
#   bootstrap TAR PACKAGES HOOK…     a root with the packages of a file; a hook is a line for a shell, $1 the root
#   import TAR IMAGE RECIPE CHANGE…  the image of it

# The first Debian with adbd.
readonly SUITE=trixie

recipe() {
    { echo "$SUITE"; cat "$@"; } | sha256sum | cut -c1-16
}

made() {
    [ "$(docker image inspect --format '{{index .Config.Labels "chaser.recipe"}}' "$1" 2>/dev/null)" = "$2" ]
}

link() {
    local command
    for command in getprop setprop settings am pm svc input wm logcat; do
        ln -s framework "$1/$command"
    done
}

bootstrap() {
    local tar=$1 packages hook hooks=()
    packages=$(grep -v '^#' "$2" | paste -sd,)
    shift 2
    for hook; do hooks+=("--customize-hook=$hook"); done
    mmdebstrap --variant=minbase --include="$packages" \
        --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
        "${hooks[@]}" "$SUITE" "$tar" http://deb.debian.org/debian
}

import() {
    local tar=$1 image=$2 recipe=$3 change changes=()
    shift 3
    for change; do changes+=(--change "$change"); done
    docker import "${changes[@]}" --change "LABEL chaser.recipe=$recipe chaser.purpose=tests" "$tar" "$image"
}

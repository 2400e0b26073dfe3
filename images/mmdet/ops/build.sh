#!/bin/bash
# Gives mmcv its module of operators, mmcv._ext: compiled from mmcv's own source where that can be had, else a stand-in in plain PyTorch.
#
#   build.sh compiled|stand-in SITE     SITE is the folder that holds mmcv and torch; /host holds pip.conf and ca-certificates.crt of the host
#
# Compiling takes about two minutes of one processor. It needs a compiler and mmcv's source package, hence a Debian archive and a package index
# that the build reaches; the image is whole without them, only slower where there are many boxes. A torch with CUDA needs operators for GPUs:
# they are compiled where the base has nvcc (a "devel" base; takes long), else the stand-in, which runs anywhere, takes their place.
set -u
wanted=$1 site=$2 here=$(dirname "$0")
export PYTHONPATH=$site

compile() {
    apt-get update -q && apt-get install -q -y --no-install-recommends g++ python3-dev || return 1
    fetch_source || return 1
    if [ -z "$cuda" ]; then
        python3 "$here/compile.py" /source/mmcv-*/ "$site/mmcv" || return 1
    else
        (cd /source/mmcv-*/ && FORCE_CUDA=1 MMCV_WITH_OPS=1 python3 setup.py build_ext --inplace && cp mmcv/_ext*.so "$site/mmcv/") || return 1
    fi
    python3 -c 'import torch, mmcv._ext' || { rm -f "$site"/mmcv/_ext*.so; return 1; }
}

fetch_source() {
    export PIP_CONFIG_FILE=/host/pip.conf PIP_DISABLE_PIP_VERSION_CHECK=1
    [ -s /host/ca-certificates.crt ] && export PIP_CERT=/host/ca-certificates.crt
    python3 -m pip download --no-deps --no-build-isolation --no-binary :all: --require-hashes -d /source -r "$here/source.txt" || return 1
    tar -xzf /source/mmcv-*.tar.gz -C /source
}

if [ "$wanted" = compiled ]; then
    cuda=$(python3 -c 'import torch; print(torch.version.cuda or "")')
    if [ -n "$cuda" ] && ! command -v nvcc >/dev/null; then
        echo "this torch is for CUDA $cuda, and the base image has no nvcc to compile operators for GPUs"
    elif compile >/tmp/compile.log 2>&1; then
        echo "mmcv's operators are compiled"
        exit 0
    else
        tail -n 15 /tmp/compile.log
        echo "mmcv's operators cannot be compiled here (the reason is above)"
    fi
fi
cp "$here/stand_in.py" "$site/mmcv/_ext.py" && echo "the stand-in in plain PyTorch takes the place of mmcv's operators"

#!/bin/sh
# Runs a program on several ranks of this machine: mpirun.sh MPIRUN RANKS PROGRAM [ARGUMENT...]
# As root (containers), on fewer cores than ranks, without asking the network who else is there.
mpirun=$1
ranks=$2
shift 2
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_btl=self,vader OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_orte_base_help_aggregate=0
export LOUPE_NUM_THREADS=1
exec "$mpirun" -n "$ranks" "$@"

#!/usr/bin/env bash
# Runs a command in a Slurm job and does with the job what its exit code asks for (docs/slurm.md, docs/faults.md):
#   75  a signal ended it at a whole step, with a checkpoint: the job goes back into the queue
#   76  its watchdog ended it: the same command again, in the same job, RESTARTS times at most
#   77 or a signal's, in a job of several nodes: a process is gone, maybe with its node, whose job Slurm puts back
#   into the queue by itself once it has noticed: it is given the time to
#   else, the job ends with that code
# Usage, in a batch script:  exec scripts/slurm/run.sh [--restarts N] COMMAND …
set -u

restarts=3
if [[ ${1-} == --restarts ]]; then
  restarts=$2
  shift 2
fi
if [[ $# -eq 0 || -z ${SLURM_JOB_ID-} ]]; then
  echo "run.sh: give it a command, in a batch script of Slurm: exec scripts/slurm/run.sh srun textok fit …" >&2
  exit 1
fi

say() { printf 'run.sh %(%F %T)T: job %s: %s\n' -1 "$SLURM_JOB_ID" "$*" >&2; }
job() { scontrol --oneliner show job "$SLURM_JOB_ID" | tr ' ' '\n' | sed -n "s/^$1=//p"; }

# Where the processes meet: the job's first node, at a port that no other job of that node takes.
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=${MASTER_PORT-$((15000 + SLURM_JOB_ID % 15000))}
export MASTER_ADDR MASTER_PORT
# A thread a CPU of the task: torch would take those of the whole node for each.
threads=${SLURM_CPUS_PER_TASK-1}
export OMP_NUM_THREADS=${OMP_NUM_THREADS-$threads} SRUN_CPUS_PER_TASK=$threads
# A broken link ends the run with an error and not with silence; what NCCL warns of is in the log.
export TORCH_NCCL_ASYNC_ERROR_HANDLING=1 NCCL_DEBUG=${NCCL_DEBUG-WARN}
# Which network they use is the cluster's matter: export NCCL_SOCKET_IFNAME or GLOO_SOCKET_IFNAME before sbatch.
export PYTHONUNBUFFERED=1

# The signal before the time limit comes here (--signal=B:…), and from here to all processes.
asked=
trap 'asked=USR1; say "USR1, the time limit is near: on to all processes"; scancel --signal=USR1 "$SLURM_JOB_ID"' USR1
trap 'asked=TERM' TERM # Slurm sends it to the processes as well

for ((attempt = 0; ; attempt++)); do
  say "start ${SLURM_RESTART_COUNT-0}.$attempt on ${SLURM_JOB_NUM_NODES-1} nodes, first $MASTER_ADDR:$MASTER_PORT: $*"
  "$@" < /dev/null &
  process=$!
  while :; do # a trap interrupts the wait
    wait "$process"
    code=$?
    kill -0 "$process" 2> /dev/null || break
  done
  [[ $code -eq 76 && $attempt -lt $restarts && -z $asked ]] || break
  say "exit code 76, restart $((attempt + 1)) of $restarts"
done

# Before the first step a signal ends a process as any other, with nothing to save.
stopped=$asked
[[ $(job PreemptTime) == None ]] || stopped=${stopped:-pre-emption}
if [[ $code -eq 75 || (-n $stopped && ($code -eq 138 || $code -eq 143)) ]]; then
  state=$(job JobState)
  if [[ $state == RUNNING ]]; then # and not cancelled by its owner
    say "exit code $code: back into the queue"
    scontrol requeue "$SLURM_JOB_ID" && sleep 300 # Slurm ends this script
  else
    say "exit code $code: not put back into the queue, for the job is $state"
  fi
elif [[ -z $stopped && ${SLURM_JOB_NUM_NODES-1} -gt 1 && ($code -eq 77 || $code -gt 130) ]]; then
  timeout=$(scontrol show config | sed -n 's/^SlurmdTimeout *= *\([0-9]*\).*/\1/p')
  say "exit code $code: a process is gone; $((${timeout:-300} + 30)) s for Slurm to notice if its node is"
  sleep $((${timeout:-300} + 30))
  say "exit code $code: the nodes are there, the job ends"
else
  say "exit code $code: the job ends"
fi
exit "$code"

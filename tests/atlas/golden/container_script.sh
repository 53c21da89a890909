export TMPDIR=/srv;export GFORTRAN_TMPDIR=/srv;/bin/bash -c 'Sim_tf.py --tag '"'"'a b'"'"' "$X"'

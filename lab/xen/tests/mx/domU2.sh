. /lab/lib.sh
other=a-domU1
role=b
. ./guest.sh

. /lab/lib.sh
other=a-domU2
role=a
. ./guest.sh

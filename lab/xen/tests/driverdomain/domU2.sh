. /lab/lib.sh
. ./guest.sh

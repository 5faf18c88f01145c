. /lab/lib.sh
. ./host.sh

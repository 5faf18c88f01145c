. /lab/lib.sh
start_agent
verify 0 d0/0,a-domU2/0 "--stream 25 --patience 200"

export retCode=0
echo "there is no release to be set up here; in a container of its own this is as it should be"
date -u '+%H:%M:%S %Y/%m/%d'
return $retCode

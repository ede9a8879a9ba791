<?php
// How mysqli.php and pdo.php write down what they see. Each has its own
// described(), for what its library tells of an error.
ini_set('memory_limit', '512M');

function say($key, $value) {
    echo $key, ': ', json_encode($value, JSON_UNESCAPED_SLASHES | JSON_PARTIAL_OUTPUT_ON_ERROR), "\n";
}

// A step must not fail: the test looks for the word.
function step($name, $do) {
    echo "== $name\n";
    try {
        $do();
    } catch (mysqli_sql_exception | PDOException $e) {
        say('unexpected', described($e));
    }
}

// The error that $do must make.
function fails($name, $do) {
    try {
        $do();
        say('unexpected', "$name: no error");
    } catch (mysqli_sql_exception | PDOException $e) {
        say($name, described($e));
    }
}

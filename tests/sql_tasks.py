"""40 tasks for the check `sql`: a reference, another right query, and a wrong one that a model might write."""

from __future__ import annotations

SHOP = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE purchase (id INTEGER PRIMARY KEY, customer_id INTEGER, day TEXT, total REAL);
CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT, price REAL, kind TEXT);
CREATE TABLE line (purchase_id INTEGER, product_id INTEGER, amount INTEGER);
INSERT INTO customer VALUES (1,'Ann','Bonn'),(2,'Bob','Ulm'),(3,'Cem','Bonn'),(4,'Dan',NULL),(5,'Eva','Kiel');
INSERT INTO purchase VALUES (1,1,'2025-01-03',20.0),(2,1,'2025-02-10',35.5),(3,2,'2025-02-11',12.0),(4,3,'2025-03-01',99.0),
 (5,3,'2025-03-09',5.0),(6,4,'2025-03-09',42.0);
INSERT INTO product VALUES (1,'pen',2.0,'office'),(2,'ink',5.5,'office'),(3,'mug',9.0,'home'),(4,'lamp',30.0,'home'),(5,'rug',80.0,'home');
INSERT INTO line VALUES (1,1,5),(1,2,1),(2,4,1),(3,3,1),(4,5,1),(4,1,2),(5,1,2),(6,4,1),(6,3,1);
"""
FIRM = """
CREATE TABLE department (id INTEGER PRIMARY KEY, name TEXT, budget INTEGER);
CREATE TABLE employee (id INTEGER PRIMARY KEY, name TEXT, department_id INTEGER, boss_id INTEGER, salary INTEGER, hired TEXT);
INSERT INTO department VALUES (1,'sales',900),(2,'build',1500),(3,'legal',300);
INSERT INTO employee VALUES (1,'Ida',2,NULL,90,'2015-05-01'),(2,'Jon',2,1,70,'2018-01-15'),(3,'Kim',1,1,60,'2019-03-01'),
 (4,'Lea',1,3,45,'2021-07-01'),(5,'Max',NULL,1,50,'2020-02-01'),(6,'Nia',2,2,70,'2022-09-01'),(7,'Oli',1,3,60,'2016-11-30');
"""
S, F = SHOP, FIRM

TASKS: tuple[tuple[str, str, str, str], ...] = (
    (S, "SELECT name FROM customer WHERE city = 'Bonn'", "SELECT c.name FROM customer c WHERE c.city IN ('Bonn')", "SELECT name FROM customer"),
    (S, "SELECT count(*) FROM customer", "SELECT sum(1) FROM customer", "SELECT count(city) FROM customer"),
    (S, "SELECT customer_id, sum(total) FROM purchase GROUP BY customer_id", "SELECT customer_id, total(total) FROM purchase GROUP BY 1", "SELECT customer_id, max(total) FROM purchase GROUP BY customer_id"),
    (S, "SELECT name FROM product WHERE price > 8", "SELECT name FROM product WHERE NOT price <= 8", "SELECT name FROM product WHERE price >= 5.5"),
    (S, "SELECT name FROM customer WHERE id NOT IN (SELECT customer_id FROM purchase WHERE customer_id IS NOT NULL)", "SELECT name FROM customer c WHERE NOT EXISTS (SELECT 1 FROM purchase p WHERE p.customer_id = c.id)", "SELECT c.name FROM customer c JOIN purchase p ON p.customer_id <> c.id"),
    (S, "SELECT c.name, count(p.id) FROM customer c LEFT JOIN purchase p ON p.customer_id = c.id GROUP BY c.id", "SELECT name, (SELECT count(*) FROM purchase p WHERE p.customer_id = c.id) FROM customer c", "SELECT c.name, count(*) FROM customer c LEFT JOIN purchase p ON p.customer_id = c.id GROUP BY c.id"),
    (S, "SELECT DISTINCT city FROM customer WHERE city IS NOT NULL", "SELECT city FROM customer WHERE city IS NOT NULL GROUP BY city", "SELECT city FROM customer WHERE city IS NOT NULL"),
    (S, "SELECT max(price) FROM product", "SELECT price FROM product WHERE price IS NOT NULL ORDER BY price DESC LIMIT 1", "SELECT price FROM product ORDER BY name DESC LIMIT 1"),
    (S, "SELECT kind, avg(price) FROM product GROUP BY kind", "SELECT kind, sum(price) / count(price) FROM product GROUP BY kind", "SELECT kind, sum(price) / count(*) FROM product GROUP BY kind"),
    (S, "SELECT kind FROM product GROUP BY kind HAVING count(*) > 2", "SELECT kind FROM (SELECT kind, count(*) n FROM product GROUP BY kind) WHERE n >= 3", "SELECT kind FROM product GROUP BY kind HAVING count(*) > 1"),
    (S, "SELECT id FROM purchase WHERE day LIKE '2025-03-%'", "SELECT id FROM purchase WHERE substr(day, 1, 8) = '2025-03-'", "SELECT id FROM purchase WHERE day > '2025-03-01'"),
    (S, "SELECT purchase_id, sum(amount * price) FROM line JOIN product ON product.id = product_id GROUP BY purchase_id", "SELECT l.purchase_id, sum(p.price * l.amount) FROM product p, line l WHERE l.product_id = p.id GROUP BY l.purchase_id", "SELECT purchase_id, sum(price) FROM line JOIN product ON product.id = product_id GROUP BY purchase_id"),
    (S, "SELECT name FROM product WHERE price = (SELECT max(price) FROM product)", "SELECT name FROM product p WHERE price IS NOT NULL AND NOT EXISTS (SELECT 1 FROM product q WHERE q.price > p.price)", "SELECT name FROM product ORDER BY id DESC LIMIT 1"),
    (S, "SELECT p.name FROM product p LEFT JOIN line l ON l.product_id = p.id GROUP BY p.id HAVING coalesce(sum(l.amount), 0) >= 2", "SELECT name FROM product p WHERE (SELECT total(amount) FROM line WHERE product_id = p.id) >= 2", "SELECT p.name FROM product p JOIN line l ON l.product_id = p.id GROUP BY p.id HAVING count(*) >= 2"),
    (S, "SELECT count(DISTINCT customer_id) FROM purchase", "SELECT count(*) FROM (SELECT DISTINCT customer_id FROM purchase WHERE customer_id IS NOT NULL)", "SELECT count(customer_id) FROM purchase"),
    (S, "SELECT c.name, p.total FROM customer c JOIN purchase p ON p.customer_id = c.id WHERE p.total > 30", "SELECT c.name, p.total FROM purchase p, customer c WHERE c.id = p.customer_id AND 30 < p.total", "SELECT c.name, p.total FROM customer c JOIN purchase p ON p.id = c.id WHERE p.total > 30"),
    (S, "SELECT city, count(*) FROM customer GROUP BY city", "SELECT city, sum(1) FROM customer GROUP BY city", "SELECT city, count(city) FROM customer GROUP BY city"),
    (S, "SELECT min(day), max(day) FROM purchase", "SELECT (SELECT min(day) FROM purchase), (SELECT max(day) FROM purchase)", "SELECT min(day), max(id) FROM purchase"),
    (S, "SELECT name FROM customer WHERE city IS NULL", "SELECT name FROM customer WHERE coalesce(city, '') = '' AND city IS NULL", "SELECT name FROM customer WHERE city = NULL"),
    (S, "SELECT upper(name) FROM product WHERE kind = 'home'", "SELECT upper(p.name) FROM product p WHERE p.kind LIKE 'home' AND kind = 'home'", "SELECT name FROM product WHERE kind = 'home'"),
    (F, "SELECT name FROM employee WHERE salary > 60", "SELECT name FROM employee WHERE salary >= 61", "SELECT name FROM employee WHERE salary >= 60"),
    (F, "SELECT d.name, avg(e.salary) FROM department d JOIN employee e ON e.department_id = d.id GROUP BY d.id", "SELECT d.name, sum(e.salary) * 1.0 / count(e.salary) FROM employee e, department d WHERE d.id = e.department_id GROUP BY d.id", "SELECT d.name, sum(e.salary) / count(e.salary) FROM department d JOIN employee e ON e.department_id = d.id GROUP BY d.id"),
    (F, "SELECT e.name, b.name FROM employee e JOIN employee b ON b.id = e.boss_id", "SELECT e.name, b.name FROM employee b, employee e WHERE e.boss_id = b.id", "SELECT b.name, e.name FROM employee e JOIN employee b ON b.id = e.boss_id"),
    (F, "SELECT e.name FROM employee e JOIN employee b ON b.id = e.boss_id WHERE e.salary >= b.salary", "SELECT name FROM employee e WHERE salary >= (SELECT salary FROM employee b WHERE b.id = e.boss_id)", "SELECT e.name FROM employee e JOIN employee b ON b.id = e.boss_id WHERE e.salary > b.salary"),
    (F, "SELECT name FROM department WHERE id NOT IN (SELECT department_id FROM employee WHERE department_id IS NOT NULL)", "SELECT d.name FROM department d LEFT JOIN employee e ON e.department_id = d.id WHERE e.id IS NULL", "SELECT name FROM department WHERE id NOT IN (SELECT department_id FROM employee)"),
    (F, "SELECT DISTINCT salary FROM employee ORDER BY salary DESC LIMIT 1 OFFSET 1", "SELECT max(salary) FROM employee WHERE salary < (SELECT max(salary) FROM employee) HAVING max(salary) IS NOT NULL", "SELECT salary FROM employee ORDER BY salary DESC LIMIT 1 OFFSET 1"),
    (F, "SELECT department_id, max(salary) FROM employee GROUP BY department_id", "SELECT department_id, max(salary) FROM employee GROUP BY 1", "SELECT department_id, max(salary) FROM employee WHERE department_id IS NOT NULL GROUP BY department_id"),
    (F, "SELECT name FROM employee WHERE hired < '2018-01-01'", "SELECT name FROM employee WHERE CAST(substr(hired, 1, 4) AS INTEGER) < 2018 AND hired < '2018-01-01'", "SELECT name FROM employee WHERE hired <= '2019-01-01'"),
    (F, "SELECT boss_id, count(*) FROM employee WHERE boss_id IS NOT NULL GROUP BY boss_id", "SELECT boss_id, count(boss_id) FROM employee GROUP BY boss_id HAVING boss_id IS NOT NULL", "SELECT boss_id, count(*) FROM employee GROUP BY boss_id"),
    (F, "SELECT d.name, coalesce(sum(e.salary), 0) FROM department d LEFT JOIN employee e ON e.department_id = d.id GROUP BY d.id", "SELECT name, (SELECT total(salary) FROM employee WHERE department_id = d.id) FROM department d", "SELECT d.name, sum(e.salary) FROM department d LEFT JOIN employee e ON e.department_id = d.id GROUP BY d.id"),
    (F, "SELECT name FROM employee WHERE department_id IS NULL OR department_id <> 2", "SELECT name FROM employee WHERE department_id IS NOT 2", "SELECT name FROM employee WHERE department_id <> 2"),
    (F, "SELECT name, salary * 12 FROM employee", "SELECT name, 12 * salary FROM employee", "SELECT name, salary * 13 FROM employee"),
    (F, "SELECT substr(hired, 1, 4), count(*) FROM employee GROUP BY 1", "SELECT substr(hired, 1, 4) y, count(*) FROM employee GROUP BY y", "SELECT substr(hired, 1, 7), count(*) FROM employee GROUP BY 1"),
    (F, "SELECT count(*) FROM employee e WHERE salary > (SELECT avg(salary) FROM employee)", "SELECT count(*) FROM employee WHERE salary > (SELECT sum(salary) * 1.0 / count(salary) FROM employee)", "SELECT count(*) FROM employee e WHERE salary > (SELECT avg(salary) FROM employee WHERE department_id = e.department_id)"),
    (F, "WITH RECURSIVE below(id) AS (SELECT 1 UNION SELECT e.id FROM employee e JOIN below ON e.boss_id = below.id) SELECT count(*) FROM below JOIN employee USING (id)", "WITH RECURSIVE b(id) AS (VALUES (1) UNION SELECT employee.id FROM employee, b WHERE boss_id = b.id) SELECT count(*) FROM employee WHERE id IN b", "SELECT count(*) FROM employee WHERE boss_id = 1"),
    (F, "SELECT name, rank() OVER (ORDER BY salary DESC) FROM employee", "SELECT name, 1 + (SELECT count(*) FROM employee o WHERE o.salary > e.salary OR (e.salary IS NULL AND o.salary IS NOT NULL)) FROM employee e", "SELECT name, dense_rank() OVER (ORDER BY salary DESC) FROM employee"),
    (F, "SELECT d.name FROM department d JOIN employee e ON e.department_id = d.id GROUP BY d.id HAVING sum(e.salary) > 170", "SELECT name FROM department WHERE (SELECT sum(salary) FROM employee WHERE department_id = department.id) > 170", "SELECT d.name FROM department d JOIN employee e ON e.department_id = d.id GROUP BY d.id HAVING max(e.salary) > 65"),
    (F, "SELECT sum(budget) FROM department WHERE id IN (SELECT department_id FROM employee)", "SELECT sum(d.budget) FROM department d WHERE EXISTS (SELECT 1 FROM employee WHERE department_id = d.id)", "SELECT sum(d.budget) FROM department d JOIN employee e ON e.department_id = d.id"),
    (F, "SELECT name FROM employee WHERE name LIKE '%a'", "SELECT name FROM employee WHERE lower(substr(name, -1)) = 'a'", "SELECT name FROM employee WHERE name LIKE '%a%'"),
    (F, "SELECT e.name FROM employee e JOIN department d ON d.id = e.department_id WHERE d.name = 'sales' AND e.salary < 60", "SELECT name FROM employee WHERE salary < 60 AND department_id IN (SELECT id FROM department WHERE name = 'sales')", "SELECT e.name FROM employee e JOIN department d ON d.id = e.department_id WHERE d.name = 'sales' OR e.salary < 60"),
)  # fmt: skip
